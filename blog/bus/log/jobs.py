"""Jobs: what the log's writer can be asked to do, each all or nothing. Plain data."""

from collections.abc import Sequence
from dataclasses import dataclass

from blog.bus.log.expected_version import ExpectedVersion
from blog.bus.log.schema import SettledEvent
from blog.core.events import Envelope


@dataclass(frozen=True, slots=True)
class AppendJob:
    """Take these events, if what is expected of the log holds; what it has already, it has."""

    envelopes: Sequence[Envelope]
    expect: ExpectedVersion | None = None


@dataclass(frozen=True, slots=True)
class SettleJob:
    """A subscription is done with events, and this follows from them: in one transaction."""

    subscription: str
    settled: Sequence[SettledEvent]
    following: Sequence[Envelope]
    watermark: int


@dataclass(frozen=True, slots=True)
class RedriveJob:
    """Take a dead event out of the way of its key: to be tried again, or for good."""

    subscription: str
    sequence: int
    again: bool


@dataclass(frozen=True, slots=True)
class PauseJob:
    """Stop or go on with delivering to a subscription."""

    subscription: str
    is_paused: bool


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """Let a subscription begin again behind `after`, as if it had seen nothing since."""

    subscription: str
    after: int


@dataclass(frozen=True, slots=True)
class SubscribeJob:
    """Remember a subscription and what it reacts to."""

    name: str
    types: frozenset[str]


Job = AppendJob | SettleJob | SubscribeJob | RedriveJob | PauseJob | ReplayJob
