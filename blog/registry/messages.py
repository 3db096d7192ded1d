"""Messages of a session: one frozen model each, JSON with a `type`.

How they may change: docs/upgrading.md. What another version sends is read by `blog.registry.reading`.
"""

from typing import Annotated, Literal

from pydantic import (
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from blog.core.frozen import FrozenModel
from blog.core.instance import MAX_COUNT, Departure, Instance, Load

PROTOCOL_VERSION = 1
"""The version of the messages, sent in `join` and `joined`; 0: the sender is older than this number."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]

EVERY_SERVICE = "*"
"""In `follow`: all services."""

NEVER_AWAITED = frozenset({"gateway", "registry"})
"""Services that a registry never waits for after its start, and that no follower names in `known`.

A gateway is ready only when the table is complete, so waiting for it would never end. A registry on its
own announces itself at itself, which says nothing about other instances.
"""


class _Message(FrozenModel):
    def to_json(self) -> str:
        """Encode for the wire."""
        return self.model_dump_json()


class Join(_Message):
    """First message of a session. Without an instance it only follows.

    `known` are the ids in its table: a registry that has just started waits for them. `expects` is how
    many instances of each service a master keeps running: that registry waits until they are ready.
    `protocol` is the sender's PROTOCOL_VERSION. `key` is a secret of the process: over a new connection
    it proves that the id is still its own.
    """

    type: Literal["join"] = "join"
    protocol: Count = 0
    instance: Instance | None = None
    follow: Annotated[tuple[str, ...], FailFast()] = ()
    known: Annotated[tuple[str, ...], FailFast()] = ()
    expects: dict[str, Count] | None = None
    key: str | None = Field(default=None, max_length=128, repr=False)


class ReadyRequest(_Message):
    """The instance can take requests, and asks to be dialled back."""

    type: Literal["ready"] = "ready"


class Heartbeat(_Message):
    """The instance is alive, with this load (None: as before)."""

    type: Literal["beat"] = "beat"
    load: Load | None = None


class Ack(_Message):
    """The follower uses the table as of `version`."""

    type: Literal["ack"] = "ack"
    version: Count


class UnhealthyReport(_Message):
    """The instance `id` did not respond to the sender."""

    type: Literal["report"] = "report"
    id: str
    why: str


class DrainRequest(_Message):
    """The instance asks for no new traffic."""

    type: Literal["drain"] = "drain"


class LeaveNotice(_Message):
    """The instance leaves in order."""

    type: Literal["leave"] = "leave"


FromInstance = Annotated[
    Join | ReadyRequest | Heartbeat | Ack | UnhealthyReport | DrainRequest | LeaveNotice,
    Field(discriminator="type"),
]


class Joined(_Message):
    """Response to `Join`: the registry's epoch, the log it knows, and the address as registered.

    To a bus that has joined `log` is its own, although it is the blog's only once a bus is ready with it.
    `protocol` is the registry's PROTOCOL_VERSION.
    """

    type: Literal["joined"] = "joined"
    protocol: Count = 0
    epoch: str = ""
    log: str | None = None
    address: str | None = None


class ReadyAck(_Message):
    """The dial-back succeeded: others see the instance as ready."""

    type: Literal["ready"] = "ready"


class DialBackFailed(_Message):
    """The dial-back to `tried` failed."""

    type: Literal["refused"] = "refused"
    tried: str = ""
    why: str = ""


def _or_lost(value: object, read: ValidatorFunctionWrapHandler) -> Departure:
    """Read a reason of a later version as the worse of ours: what matters is that it is gone."""
    try:
        return Departure(read(value))
    except ValidationError:
        return Departure.LOST


class GoneInstance(_Message):
    """An instance that left or was lost."""

    id: str
    why: Annotated[Departure, WrapValidator(_or_lost)] = Departure.LOST


class TableSnapshot(_Message):
    """The whole table of the services followed. `complete`: no instance is missing from it.

    `gone` are instances that are gone although the table is not complete. Nobody sends it yet: the reader
    puts the ids of rows there that it cannot read.
    """

    type: Literal["snapshot"] = "snapshot"
    epoch: str = ""
    version: Count
    complete: bool
    instances: Annotated[tuple[Instance, ...], FailFast()]
    gone: Annotated[tuple[GoneInstance, ...], FailFast()] = ()


class TableDelta(_Message):
    """The changes since the version before."""

    type: Literal["delta"] = "delta"
    version: Count
    put: Annotated[tuple[Instance, ...], FailFast()] = ()
    gone: Annotated[tuple[GoneInstance, ...], FailFast()] = ()


class Drained(_Message):
    """Every follower has acknowledged that it selects the instance no more."""

    type: Literal["drained"] = "drained"


class KeepAlive(_Message):
    """Sent every second in every session, so that a dead registry is noticed."""

    type: Literal["alive"] = "alive"


FromRegistry = Annotated[
    Joined | ReadyAck | DialBackFailed | TableSnapshot | TableDelta | Drained | KeepAlive,
    Field(discriminator="type"),
]

_from_instance: TypeAdapter[FromInstance] = TypeAdapter(FromInstance)
_from_registry: TypeAdapter[FromRegistry] = TypeAdapter(FromRegistry)


def parse_from_instance(text: str) -> FromInstance:
    """Parse a message of an instance. Raises pydantic.ValidationError."""
    return _from_instance.validate_json(text)


def parse_from_registry(text: str) -> FromRegistry:
    """Parse a message of the registry. Raises pydantic.ValidationError."""
    return _from_registry.validate_json(text)
