"""Jobs: what the log's writer does, each all or nothing. Plain data."""

from collections.abc import Sequence
from dataclasses import dataclass

from blog.bus.log.expected_version import ExpectedVersion
from blog.bus.log.schema import SettledEvent
from blog.core.events import Envelope


@dataclass(frozen=True, slots=True)
class AppendJob:
    """Append events, if what is expected holds; those that the log has already stay as they are."""

    envelopes: Sequence[Envelope]
    expected: ExpectedVersion | None = None


@dataclass(frozen=True, slots=True)
class SettleJob:
    """Settle events for a subscription and append what follows from them, in one transaction."""

    subscription: str
    settled: Sequence[SettledEvent]
    following: Sequence[Envelope]
    watermark: int


@dataclass(frozen=True, slots=True)
class RedriveJob:
    """Deliver a dead event again, before what is parked after it."""

    subscription: str
    sequence: int


@dataclass(frozen=True, slots=True)
class DiscardJob:
    """Give a dead event up for good; what is parked after it is delivered."""

    subscription: str
    sequence: int


@dataclass(frozen=True, slots=True)
class PauseJob:
    """Pause the delivery to a subscription, or resume it."""

    subscription: str
    is_paused: bool


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """Let a subscription begin again after the sequence `after`, as if it had seen nothing since."""

    subscription: str
    after: int


@dataclass(frozen=True, slots=True)
class SubscribeJob:
    """Record a subscription and the types that it reacts to."""

    name: str
    types: frozenset[str]


Job = AppendJob | SettleJob | SubscribeJob | RedriveJob | DiscardJob | PauseJob | ReplayJob
