"""Outcome: what an attempt came to: an instance's answer → what is settled, what follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice

from pydantic import ValidationError

from blog.bus.delivery.dispatch import Batch, is_exhausted
from blog.bus.log.schema import Entry, Settled, State
from blog.core.events import Envelope
from blog.core.reactions import DeliveryAnswer, Outcome, Result

_TOLD = 2000  # bytes of a body that a dead letter holds
_AGAIN = frozenset({408, 409, 425, 429})
_TOO_MUCH = frozenset({429, 503})


class NotSentError(Exception):
    """The instance never got it: that was not an attempt."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed as a whole."""

    reason: str
    retry_after: float | None = None
    is_final: bool = False
    is_too_much: bool = False


def judge(
    batch: Batch, outcome: Sequence[Result] | Failure
) -> tuple[list[Settled], list[Envelope], Failure | None]:
    """Split an outcome into what is settled, what follows from that, and why the rest is not.

    Nothing is settled behind an event that is dead: it was reacted to too early.
    """
    if isinstance(outcome, Failure):
        if outcome.is_final or is_exhausted(batch):
            return [_dead(batch.entries[0], batch.attempt, outcome.reason)], [], None
        return [], [], outcome
    settled: list[Settled] = []
    following: list[Envelope] = []
    for entry, result in zip(batch.entries, outcome, strict=True):
        reason = result.reason or ""
        if result.outcome is Outcome.DONE:
            settled.append(Settled(entry.sequence, entry.key, batch.attempt))
            following += result.events
        elif result.outcome is Outcome.DEAD or (not settled and is_exhausted(batch)):
            settled.append(_dead(entry, batch.attempt, reason))
            break
        else:
            return settled, following, Failure(reason, result.retry_after)
    return settled, following, None


def _dead(entry: Entry, attempts: int, reason: str) -> Settled:
    return Settled(entry.sequence, entry.key, attempts, State.DEAD, reason or "no reason given")


def split(
    load: Sequence[Batch], outcome: Sequence[Result] | Failure
) -> list[tuple[Batch, Sequence[Result] | Failure]]:
    """Say what the outcome of a load means for each of its batches.

    A refusal for good says not which event it is about: where there are several, each is tried alone.
    """
    if isinstance(outcome, Failure):
        if outcome.is_final and sum(len(batch.entries) for batch in load) > 1:
            outcome = replace(outcome, is_final=False)
        return [(batch, outcome) for batch in load]
    rest = iter(outcome)
    return [(batch, list(islice(rest, len(batch.entries)))) for batch in load]


def read_answer(
    load: Sequence[Batch], status: int, retry_after: str, body: bytes
) -> Sequence[Result] | Failure:
    """Understand an instance's answer. Raises NotSentError when it is not the one that is meant."""
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        raise NotSentError("another instance answers there")
    if status == HTTPStatus.OK:
        return _results(load, body)
    reason = f"answered {status}: {body[:_TOLD].decode(errors='replace')}"
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        is_number = retry_after.isascii() and retry_after.isdigit()  # a superscript is a digit as well
        seconds = float(retry_after) if is_number else None
        return Failure(reason, seconds, is_too_much=status in _TOO_MUCH)
    return Failure(reason, is_final=True)


def _results(load: Sequence[Batch], body: bytes) -> Sequence[Result] | Failure:
    try:
        results = DeliveryAnswer.model_validate_json(body).results
    except ValidationError as error:
        return Failure(f"its answer cannot be read: {error.errors()[0]['msg']}")
    if [result.id for result in results] != [entry.id for batch in load for entry in batch.entries]:
        return Failure("its answer is about other events")
    return results
