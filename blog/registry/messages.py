"""The session's wire: one frozen model per message, JSON with its `type`."""

A message is one WebSocket text frame of JSON; its `type` is the word of the contract.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from blog.core.instance import Departure, Instance, InstanceId, Load

EVERYTHING = "*"
"""In `follow`: every service."""

Followed = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9-]{0,62})$")]
Why = Annotated[str, StringConstraints(max_length=1000)]
Version = Annotated[int, Field(ge=0)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Join(_Message):
    """First of all: who I am (None: nobody, I only follow) and which services I follow."""

    type: Literal["join"] = "join"
    instance: Instance | None = None
    follow: tuple[Followed, ...] = Field(default=(), max_length=1000)


class Ready(_Message):
    """From an instance: I can answer. From the registry: dialled back, you are ready for others."""

    type: Literal["ready"] = "ready"


class Beat(_Message):
    """I am alive, and this is what I have to do."""

    type: Literal["beat"] = "beat"
    load: Load = Load()


class Ack(_Message):
    """I act on the table as of `version`."""

    type: Literal["ack"] = "ack"
    version: Version


class Report(_Message):
    """I could not reach the instance `id`; have a look."""

    type: Literal["report"] = "report"
    id: InstanceId
    why: Why = ""


class Drain(_Message):
    """Send me nothing new; tell me when everybody knows."""

    type: Literal["drain"] = "drain"


class Leave(_Message):
    """Goodbye: what follows is a close, not a crash."""

    type: Literal["leave"] = "leave"


class Joined(_Message):
    """You are in. `log` is the identity of the known log, `address` the one others will dial."""

    type: Literal["joined"] = "joined"
    epoch: str
    log: str | None = None
    address: str | None = None


class Refused(_Message):
    """You are not ready for others: which address was tried, and why that failed."""

    type: Literal["refused"] = "refused"
    tried: str
    why: str


class Snapshot(_Message):
    """The whole table of what you follow; if not `complete`, more may be alive than it shows."""

    type: Literal["snapshot"] = "snapshot"
    epoch: str
    version: Version
    complete: bool = True
    instances: tuple[Instance, ...] = ()


class Gone(BaseModel):
    """An instance that is no more: it `left` or it was `lost`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    why: Departure


class Delta(_Message):
    """What changed since the last message, up to `version`. Carries no load."""

    type: Literal["delta"] = "delta"
    version: Version
    put: tuple[Instance, ...] = ()
    gone: tuple[Gone, ...] = ()


class Drained(_Message):
    """Everybody who follows your service knows that you drain (or had the time to)."""

    type: Literal["drained"] = "drained"


FromInstance = Annotated[
    Join | Ready | Beat | Ack | Report | Drain | Leave, Field(discriminator="type")
]
FromRegistry = Annotated[
    Joined | Ready | Refused | Snapshot | Delta | Drained, Field(discriminator="type")
]

_FROM_INSTANCE: TypeAdapter[FromInstance] = TypeAdapter(FromInstance)
_FROM_REGISTRY: TypeAdapter[FromRegistry] = TypeAdapter(FromRegistry)
_LOAD: dict[str, Any] = {"__all__": {"load"}}
_UNSAID: dict[type[BaseModel], dict[str, Any]] = {Snapshot: {"instances": _LOAD}, Delta: {"put": _LOAD}}


def parse_from_instance(text: str) -> FromInstance:
    """Read what an instance says. Raises pydantic.ValidationError."""
    return _FROM_INSTANCE.validate_json(text)


def parse_from_registry(text: str) -> FromRegistry:
    """Read what a registry says. Raises pydantic.ValidationError."""
    return _FROM_REGISTRY.validate_json(text)


def encode(message: BaseModel) -> str:
    """Write a message for the wire; loads of other instances are left out."""
    return message.model_dump_json(exclude=_UNSAID.get(type(message)))
