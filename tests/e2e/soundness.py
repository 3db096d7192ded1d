"""Soundness: what has to hold of a blog's data, whatever happened to it. A check lists what is wrong."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from blog.bus.log.maintenance import verify
from blog.core.events import Envelope
from tests.e2e.notes import Told
from tests.e2e.rows import differences, envelopes, log_file, view_files

STEPS = ("blog.CommentCreated", "blog.CommentModerated", "blog.CommentUpdated")
"""What happens to a comment that is written once, in this order; each follows from the one before."""


def problems(data: Path, told: Told) -> list[str]:
    """List all that is wrong with the log, with what was told of it, with comments, and with views."""
    log = log_file(data)
    found = list(verify(log).problems)
    events = list(envelopes(log))
    found += misplaced(events, told) + unsettled(events)
    for file in view_files(data):
        found += differences(file, log)
    return found


def misplaced(events: list[Envelope], told: Told) -> list[str]:
    """List what was acknowledged and is not where it was said, or is there twice."""
    marks = {event.sequence: mark_of(event) for event in events}
    counts = Counter(mark for mark in marks.values() if mark)
    wrong = [f"{mark}: {count} times in the log" for mark, count in counts.items() if count > 1]
    for mark, sequences in told.items():
        if len(sequences) > 1 or any(marks.get(sequence) != mark for sequence in sequences):
            wrong.append(
                f"{mark}: was told to be {sequences}, which is {[marks.get(n) for n in sequences]}"
            )
    return wrong


def mark_of(event: Envelope) -> str | None:
    """Return what the writer marked its request with: a comment's content, a post's title."""
    match event.type:
        case "blog.CommentCreated":
            return str(event.data["content"])
        case "blog.PostCreated":
            return str(event.data["title"])
    return None


def unsettled(events: list[Envelope]) -> list[str]:
    """List comments that are not settled exactly once, and keys whose events are out of order."""
    by_type: dict[str, list[Envelope]] = defaultdict(list)
    for event in events:
        by_type[event.type].append(event)
    wrong = []
    for cause, effect in pairwise(STEPS):
        wrong += _not_once(by_type[cause], by_type[effect], effect)
        wrong += _out_of_order(by_type[cause], by_type[effect], effect)
    return wrong


def _not_once(causes: list[Envelope], effects: list[Envelope], name: str) -> list[str]:
    counts = Counter(effect.causationid for effect in effects)
    known = {cause.id: cause for cause in causes}
    wrong = [f"{id_}: {counts[id_]} times {name}" for id_ in known if counts[id_] != 1]
    for effect in effects:
        cause = known.get(effect.causationid or "")
        if cause is None or _about(cause) != _about(effect) or _at(cause) >= _at(effect):
            wrong.append(f"{effect.id}: {name} does not follow from {effect.causationid}")
    return wrong


def _out_of_order(causes: list[Envelope], effects: list[Envelope], name: str) -> list[str]:
    wanted, found = _by_key(causes), _by_key(effects)
    return [f"{key}: {name} out of order" for key in wanted if wanted[key] != found[key]]


def _by_key(events: list[Envelope]) -> dict[str, list[Any]]:
    keys: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        keys[event.subject].append(event.data["id"])
    return keys


def _about(event: Envelope) -> tuple[str, Any]:
    return event.subject, event.data["id"]


def _at(event: Envelope) -> int:
    assert event.sequence is not None
    return event.sequence
