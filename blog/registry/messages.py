"""The session's wire: one frozen model per message, JSON with its `type`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from blog.core.instance import Departure, Instance, Load

EVERY_SERVICE = "*"
"""In `follow`: every service."""

NEVER_AWAITED = frozenset({"gateway", "registry"})
"""Services that a registry never waits for after its start, and that no follower names in `known`.

A gateway is ready only when the table is complete, so waiting for it would never end. A registry on its
own announces itself at itself, which says nothing about other instances.
"""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> str:
        """Encode for the wire."""
        return self.model_dump_json()


class Join(_Message):
    """First message of a session. Without an instance it only follows.

    `known` are the ids in its table: a registry that has just started waits for them. A master says how
    many of each service it keeps running (`expects`): such a registry waits until they are ready.
    """

    type: Literal["join"] = "join"
    instance: Instance | None = None
    follow: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    expects: dict[str, int] | None = None


class ReadyRequest(_Message):
    """The instance can answer: dial back, please."""

    type: Literal["ready"] = "ready"


class Heartbeat(_Message):
    """Alive, and this busy."""

    type: Literal["beat"] = "beat"
    load: Load = Load()


class Ack(_Message):
    """The follower acts on the table as of `version`."""

    type: Literal["ack"] = "ack"
    version: int


class UnhealthyReport(_Message):
    """Somebody met an instance that did not answer."""

    type: Literal["report"] = "report"
    id: str
    why: str


class DrainRequest(_Message):
    """No new traffic, please."""

    type: Literal["drain"] = "drain"


class LeaveNotice(_Message):
    """Goodbye, in order."""

    type: Literal["leave"] = "leave"


FromInstance = Annotated[
    Join | ReadyRequest | Heartbeat | Ack | UnhealthyReport | DrainRequest | LeaveNotice,
    Field(discriminator="type"),
]


class Joined(_Message):
    """Welcome: the registry's epoch, the log it knows, and the address as registered."""

    type: Literal["joined"] = "joined"
    epoch: str
    log: str | None = None
    address: str | None = None


class ReadyAck(_Message):
    """The dial-back worked: others see the instance as ready."""

    type: Literal["ready"] = "ready"


class DialBackFailed(_Message):
    """The dial-back to `tried` failed."""

    type: Literal["refused"] = "refused"
    tried: str
    why: str


class TableSnapshot(_Message):
    """The whole table, of the services asked for. `complete`: nobody is missing from it."""

    type: Literal["snapshot"] = "snapshot"
    epoch: str
    version: int
    complete: bool
    instances: tuple[Instance, ...]


class GoneInstance(_Message):
    """Who is not there any more, and whether it left or was lost."""

    id: str
    why: Departure


class TableDelta(_Message):
    """What changed since the version before."""

    type: Literal["delta"] = "delta"
    version: int
    put: tuple[Instance, ...] = ()
    gone: tuple[GoneInstance, ...] = ()


class Drained(_Message):
    """Every follower has acknowledged that it will not pick the instance any more."""

    type: Literal["drained"] = "drained"


class KeepAlive(_Message):
    """The registry is there: every second to everybody, so that a dead one is noticed."""

    type: Literal["alive"] = "alive"


FromRegistry = Annotated[
    Joined | ReadyAck | DialBackFailed | TableSnapshot | TableDelta | Drained | KeepAlive,
    Field(discriminator="type"),
]

_from_instance: TypeAdapter[FromInstance] = TypeAdapter(FromInstance)
_from_registry: TypeAdapter[FromRegistry] = TypeAdapter(FromRegistry)


def parse_from_instance(text: str) -> FromInstance:
    """Read what an instance said. Raises pydantic.ValidationError."""
    return _from_instance.validate_json(text)


def parse_from_registry(text: str) -> FromRegistry:
    """Read what the registry said. Raises pydantic.ValidationError."""
    return _from_registry.validate_json(text)
