"""Outcome: what an attempt came to: an instance's answer → what is settled, what follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice

from pydantic import ValidationError

from blog.bus.delivery.dispatch import KeyBatch, is_exhausted
from blog.bus.log.schema import LogEntry, SettledEvent, SettledState
from blog.core.events import Envelope
from blog.core.reactions import DeliveryResponse, Outcome, Result

_TOLD = 2000  # bytes of a body that a dead letter holds
_AGAIN = frozenset({408, 409, 425, 429})
_TOO_MUCH = frozenset({429, 503})


class NotSentError(Exception):
    """The instance never got it: that was not an attempt."""


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """An attempt that failed as a whole."""

    reason: str
    retry_after: float | None = None
    is_final: bool = False
    is_too_much: bool = False


def judge(
    batch: KeyBatch, outcome: Sequence[Result] | DeliveryFailure
) -> tuple[list[SettledEvent], list[Envelope], DeliveryFailure | None]:
    """Split an outcome into what is settled, what follows from that, and why the rest is not.

    Nothing is settled behind an event that is dead: it was reacted to too early.
    """
    if isinstance(outcome, DeliveryFailure):
        if outcome.is_final or is_exhausted(batch):
            return [_dead(batch.entries[0], batch.attempt, outcome.reason)], [], None
        return [], [], outcome
    settled: list[SettledEvent] = []
    following: list[Envelope] = []
    for entry, result in zip(batch.entries, outcome, strict=True):
        reason = result.reason or ""
        if result.outcome is Outcome.DONE:
            settled.append(SettledEvent(entry.sequence, entry.key, batch.attempt))
            following += result.events
        elif result.outcome is Outcome.DEAD or (not settled and is_exhausted(batch)):
            settled.append(_dead(entry, batch.attempt, reason))
            break
        else:
            return settled, following, DeliveryFailure(reason, result.retry_after)
    return settled, following, None


def _dead(entry: LogEntry, attempts: int, reason: str) -> SettledEvent:
    return SettledEvent(
        entry.sequence, entry.key, attempts, SettledState.DEAD, reason or "no reason given"
    )


def split(
    load: Sequence[KeyBatch], outcome: Sequence[Result] | DeliveryFailure
) -> list[tuple[KeyBatch, Sequence[Result] | DeliveryFailure]]:
    """Say what the outcome of a load means for each of its batches.

    A refusal for good says not which event it is about: where there are several, each is tried alone.
    """
    if isinstance(outcome, DeliveryFailure):
        if outcome.is_final and sum(len(batch.entries) for batch in load) > 1:
            outcome = replace(outcome, is_final=False)
        return [(batch, outcome) for batch in load]
    rest = iter(outcome)
    return [(batch, list(islice(rest, len(batch.entries)))) for batch in load]


def read_answer(
    load: Sequence[KeyBatch], status: int, retry_after: str, body: bytes
) -> Sequence[Result] | DeliveryFailure:
    """Understand an instance's answer. Raises NotSentError when it is not the one that is meant."""
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        raise NotSentError("another instance answers there")
    if status == HTTPStatus.OK:
        return _results(load, body)
    reason = f"answered {status}: {body[:_TOLD].decode(errors='replace')}"
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        is_number = retry_after.isascii() and retry_after.isdigit()  # a superscript is a digit as well
        seconds = float(retry_after) if is_number else None
        return DeliveryFailure(reason, seconds, is_too_much=status in _TOO_MUCH)
    return DeliveryFailure(reason, is_final=True)


def _results(load: Sequence[KeyBatch], body: bytes) -> Sequence[Result] | DeliveryFailure:
    try:
        results = DeliveryResponse.model_validate_json(body).results
    except ValidationError as error:
        return DeliveryFailure(f"its answer cannot be read: {error.errors()[0]['msg']}")
    if [result.id for result in results] != [entry.id for batch in load for entry in batch.entries]:
        return DeliveryFailure("its answer is about other events")
    return results
