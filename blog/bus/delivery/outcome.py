"""Outcome: what an attempt came to: the response of an instance → what is settled, what follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice
from typing import NamedTuple

from blog.bus.delivery.dispatch import KeyBatch, is_exhausted
from blog.bus.log.schema import LogEntry, SettledEvent, SettledState
from blog.core.events import Envelope
from blog.core.numbers import whole
from blog.core.reactions import Outcome, Result, read_results

_MAX_REASON = 2000  # bytes of a body that a dead letter holds
_MAX_DELAY = 86_400.0  # seconds that an instance may put an event off: what waits for ever is lost
_RETRYABLE = frozenset({408, 409, 425, 429})
_OVERLOAD = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """An attempt that failed as a whole. `retry_after` is in seconds."""

    reason: str
    retry_after: float | None = None
    is_final: bool = False
    is_overload: bool = False


DeliveryOutcome = Sequence[Result] | DeliveryFailure
"""What came of a batch: a result for each event in order, or why there is none."""


class KeyOutcome(NamedTuple):
    """What came of the events of one key: the first ones are `settled`, the rest is to be tried again.

    `following` is to be appended with the settling. Without a `failure` there is no rest to retry.
    """

    batch: KeyBatch
    settled: Sequence[SettledEvent]
    following: Sequence[Envelope] = ()
    failure: DeliveryFailure | None = None


def evaluate(batch: Sequence[KeyBatch], outcome: DeliveryOutcome) -> list[KeyOutcome]:
    """Return what the outcome of a batch means for each of its keys.

    A final failure does not say which event it is about: where there are several, each is tried alone.
    """
    if isinstance(outcome, DeliveryFailure):
        if outcome.is_final and sum(len(key_batch.entries) for key_batch in batch) > 1:
            outcome = replace(outcome, is_final=False)
        return [_failed(key_batch, outcome) for key_batch in batch]
    rest = iter(outcome)
    return [_judged(key_batch, list(islice(rest, len(key_batch.entries)))) for key_batch in batch]


def _failed(batch: KeyBatch, failure: DeliveryFailure) -> KeyOutcome:
    if failure.is_final or is_exhausted(batch):
        return KeyOutcome(batch, [_dead(batch.entries[0], batch.attempt, failure.reason)])
    return KeyOutcome(batch, [], failure=failure)


def _judged(batch: KeyBatch, results: Sequence[Result]) -> KeyOutcome:
    """Nothing is settled after an event that is dead: it was reacted to too early."""
    settled: list[SettledEvent] = []
    following: list[Envelope] = []
    for entry, result in zip(batch.entries, results, strict=True):
        reason = result.reason or ""
        if result.outcome is Outcome.DONE:
            settled.append(SettledEvent(entry.sequence, entry.key, batch.attempt))
            following += result.events
        elif result.outcome is Outcome.DEAD or (not settled and is_exhausted(batch)):
            settled.append(_dead(entry, batch.attempt, reason))
            break
        else:
            later = None if result.retry_after is None else min(result.retry_after, _MAX_DELAY)
            return KeyOutcome(batch, settled, following, DeliveryFailure(reason, later))
    return KeyOutcome(batch, settled, following)


def _dead(entry: LogEntry, attempts: int, reason: str) -> SettledEvent:
    return SettledEvent(
        entry.sequence, entry.key, attempts, SettledState.DEAD, reason or "no reason given"
    )


def parse_response(
    batch: Sequence[KeyBatch], status: int, retry_after: str, body: bytes
) -> DeliveryOutcome:
    """Return what an instance's response says of a batch."""
    if status == HTTPStatus.OK:
        return _results(batch, body)
    reason = f"status {status}: {body[:_MAX_REASON].decode(errors='replace')}"
    if status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        number = whole(retry_after)
        seconds = None if number is None else min(float(number), _MAX_DELAY)
        return DeliveryFailure(reason, seconds, is_overload=status in _OVERLOAD)
    return DeliveryFailure(reason, is_final=True)


def _results(batch: Sequence[KeyBatch], body: bytes) -> DeliveryOutcome:
    try:
        results = read_results(body)
    except ValueError as error:
        return DeliveryFailure(f"its response is not valid: {error}")
    if [result.id for result in results] != [
        entry.id for key_batch in batch for entry in key_batch.entries
    ]:
        return DeliveryFailure("its response is about other events")
    return results
