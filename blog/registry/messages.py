"""Messages of a session: one frozen model each, JSON with a `type`."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from blog.core.frozen import FrozenModel
from blog.core.instance import Departure, Instance, Load

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
    `key` is a secret of the process: over a new connection it proves that the id is still its own.
    """

    type: Literal["join"] = "join"
    instance: Instance | None = None
    follow: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    expects: dict[str, int] | None = None
    key: str | None = Field(default=None, max_length=128, repr=False)


class ReadyRequest(_Message):
    """The instance can take requests, and asks to be dialled back."""

    type: Literal["ready"] = "ready"


class Heartbeat(_Message):
    """The instance is alive, with this load."""

    type: Literal["beat"] = "beat"
    load: Load = Load()


class Ack(_Message):
    """The follower uses the table as of `version`."""

    type: Literal["ack"] = "ack"
    version: int


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
    """Response to `Join`: the registry's epoch, the log it knows, and the address as registered."""

    type: Literal["joined"] = "joined"
    epoch: str
    log: str | None = None
    address: str | None = None


class ReadyAck(_Message):
    """The dial-back succeeded: others see the instance as ready."""

    type: Literal["ready"] = "ready"


class DialBackFailed(_Message):
    """The dial-back to `tried` failed."""

    type: Literal["refused"] = "refused"
    tried: str
    why: str


class TableSnapshot(_Message):
    """The whole table of the services followed. `complete`: no instance is missing from it."""

    type: Literal["snapshot"] = "snapshot"
    epoch: str
    version: int
    complete: bool
    instances: tuple[Instance, ...]


class GoneInstance(_Message):
    """An instance that left or was lost."""

    id: str
    why: Departure


class TableDelta(_Message):
    """The changes since the version before."""

    type: Literal["delta"] = "delta"
    version: int
    put: tuple[Instance, ...] = ()
    gone: tuple[GoneInstance, ...] = ()


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
