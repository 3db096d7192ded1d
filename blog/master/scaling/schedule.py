"""Schedules: how many replicas at which time. Pure: `now` is an argument, nothing is remembered.

Level-triggered: the last `at` before now applies, however long ago that was, so that a master that did
not run at ten scales at five past. Cron expressions have five fields, in a time zone, as Debian's cron
reads them: a fixed time that a change of the clocks skips comes right after the gap, one that comes twice
counts the first time; with a `*` in minute or hour it is every time that it is so.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from heapq import merge
from typing import NamedTuple

from cronsim import CronSim, CronSimError

_FIELDS = 5
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class ScheduleEntry(NamedTuple):
    """From each time that the cron expression `at` matches: this number of replicas."""

    at: str
    replicas: int


class ScheduledChange(NamedTuple):
    """An entry that comes into force at `time` (aware, in the schedule's time zone)."""

    time: datetime
    entry: ScheduleEntry


def checked_cron(text: str) -> str:
    """Return `text` if it is a cron expression that ever comes true. Raises ValueError."""
    if len(text.split()) != _FIELDS:
        raise ValueError("is five fields: minute hour day month weekday, for instance 0 10 * * 1-5")
    try:
        first = next(CronSim(text, _ANY_DAY), None)
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()} in {text!r}") from None
    if first is None:
        raise ValueError(f"{text!r} never comes true")
    return text


def last(at: str, zone: tzinfo, now: datetime) -> datetime | None:
    """Return when `at` came true last, now included; None if it never did."""
    found = next(CronSim(at, now.astimezone(zone), reverse=True), None)
    if found is None:
        return None
    # Backwards from within an hour that comes twice, its first pass is overlooked: forwards it is found.
    for later in CronSim(at, found):
        if _utc(later) > now:
            break
        found = later
    return found


def in_force(entries: Sequence[ScheduleEntry], zone: tzinfo, now: datetime) -> ScheduledChange | None:
    """Return what holds at `now`, and since when. At the same time, the one further down wins."""
    times = [(last(entry.at, zone, now), entry) for entry in entries]
    changes = [ScheduledChange(time, entry) for time, entry in times if time is not None]
    # max takes the first of equals
    return max(reversed(changes), key=lambda change: _utc(change.time), default=None)


def upcoming(entries: Sequence[ScheduleEntry], zone: tzinfo, now: datetime) -> Iterator[ScheduledChange]:
    """Yield what comes into force after `now`, in order, without end."""
    return merge(*(_times(entry, zone, now) for entry in entries), key=lambda change: _utc(change.time))


def _times(entry: ScheduleEntry, zone: tzinfo, now: datetime) -> Iterable[ScheduledChange]:
    # within an hour that comes twice, what came in its first pass is not to come any more
    times = (time for time in CronSim(entry.at, now.astimezone(zone)) if _utc(time) > now)
    return (ScheduledChange(time, entry) for time in times)


def _utc(time: datetime) -> datetime:
    """Return a time that compares as it should: in one zone, Python compares what the clocks show."""
    return time.astimezone(UTC)
