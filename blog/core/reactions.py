"""The wire between bus and reacting instance: deliveries, and their outcomes.

`POST /reactions` at the instance: `DeliveryRequest` → 200 `DeliveryResponse`, one `Result` per event, in
the same order.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field

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
    retry_after: float | None = Field(default=None, ge=0)


class DeliveryResponse(FrozenModel):
    """One result per delivered event, in the same order."""

    results: tuple[Result, ...]


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, Delivery="DeliveryRequest", DeliveryAnswer="DeliveryResponse")
