"""The wire between bus and reacting instance: deliveries, and their outcomes.

`POST /reactions` at the instance: `DeliveryRequest` → 200 `DeliveryResponse`, one `Result` per event, in
the same order. Either side may be of a later version: an event or a result that cannot be read is to be
tried again, and does not concern the others.
"""

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, ValidationError

from blog.core import tolerant
from blog.core.deprecated import renamed_names
from blog.core.events import Envelope
from blog.core.frozen import FrozenModel

PATH = "/reactions"


class Outcome(StrEnum):
    """The outcome of one event."""

    DONE = "done"
    RETRY = "retry"
    DEAD = "dead"


class DeliveryRequest(FrozenModel):
    """Events for one instance of the subscription's service; `attempt` counts from 1."""

    subscription: str
    attempt: int = Field(ge=1)
    events: tuple[Envelope, ...]


class Result(FrozenModel):
    """The outcome of the event `id`: on `done`, `events` follow from it and are appended with the ack.

    On `retry` and `dead`, `reason` says why; `retry_after` (seconds) may ask for a longer delay.
    """

    id: str
    outcome: Outcome
    events: tuple[Envelope, ...] = ()
    reason: str | None = None
    retry_after: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class DeliveryResponse(FrozenModel):
    """One result per delivered event, in the same order."""

    results: tuple[Result, ...]


class UnreadableEnvelope(NamedTuple):
    """An event of a later version that cannot be read here; `reason` says why."""

    id: str
    subject: str
    reason: str


class ReceivedDelivery(NamedTuple):
    """A `DeliveryRequest` as far as it can be read."""

    events: Sequence[Envelope | UnreadableEnvelope]


def read_delivery(body: bytes) -> DeliveryRequest | ReceivedDelivery:
    """Read the body of a delivery, event by event. Raises pydantic.ValidationError."""
    try:
        return DeliveryRequest.model_validate_json(body)
    except ValidationError:
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            return ReceivedDelivery([_read_event(event) for event in tolerant.parse(body)["events"]])
        raise


def _read_event(event: Any) -> Envelope | UnreadableEnvelope:
    """Read an event that has at least an id. Raises LookupError, TypeError or AttributeError."""
    try:
        return Envelope.model_validate(event)
    except ValidationError:
        [first, *_] = tolerant.read(Envelope, event).left_out
    id_, subject = event["id"], event.get("subject")
    if not isinstance(id_, str):
        raise TypeError("id")
    reason = f"its {first.field} cannot be read here: {first.reason}"
    return UnreadableEnvelope(id_, subject if isinstance(subject, str) else "", reason)


def read_results(body: bytes) -> Sequence[Result]:
    """Read the body of a DeliveryResponse, result by result. Raises ValueError if there are none.

    One whose outcome, or what follows, cannot be read is a retry.
    """
    try:
        return DeliveryResponse.model_validate_json(body).results
    except ValidationError as error:
        why = error.errors()[0]["msg"]
    data = tolerant.parse(body)
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, list):
        raise ValueError(why)  # noqa: TRY004 - a value of JSON
    return [_read_result(result) for result in results]


def _read_result(data: Any) -> Result:
    result, left_out = tolerant.read(Result, data)
    if result is not None and not any(one.field == "events" for one in left_out):
        return result
    id_ = data.get("id") if isinstance(data, dict) else None
    if not isinstance(id_, str):
        raise ValueError("one of its results has no id")  # noqa: TRY004 - a value of JSON
    reason = f"the {left_out[-1].field} of its result cannot be read here: {left_out[-1].reason}"
    return Result(id=id_, outcome=Outcome.RETRY, reason=reason)


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, Delivery="DeliveryRequest", DeliveryAnswer="DeliveryResponse")
