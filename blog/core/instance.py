"""Instance: one running replica of a service, as it announces itself and as others see it.

It is on the wire between versions: see `blog.core.tolerant` for what happens to what cannot be read.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, FailFast, Field, StringConstraints

from blog.core import tolerant
from blog.core.frozen import FrozenModel
from blog.core.ids import new_id

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
InstanceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
AddressStr = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}$")
]
"""`host:port`; an IPv6 host stands in brackets."""


MAX_COUNT = 2**53 - 1
"""The largest number that is accepted from others: every reader of JSON has it exactly (RFC 8259 §6)."""

LB_POLICY_KEY = "turn"
"""In an instance's metadata: the load-balancing policy of its service, if it is not round-robin."""


class State(StrEnum):
    """`starting → ready → draining → gone`; `suspect` stands beside `ready`."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    DRAINING = "draining"
    GONE = "gone"


class Departure(StrEnum):
    """Why an instance is gone: it left in order, or it was lost."""

    LEFT = "left"
    LOST = "lost"


class Load(FrozenModel):
    """The load of an instance: requests in flight, and how late its event loop runs (ms)."""

    in_flight: int = Field(default=0, ge=0, le=MAX_COUNT)
    loop_lag_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Route(FrozenModel):
    """A public route: what the gateway may send. `{name}` in `pattern` stands for one segment.

    `body_limit` (bytes) and `answer_timeout` (seconds until the response's head) are for routes that
    need others than the gateway's own. `shows_refusals`: what the gateway refuses of it may be sent to
    the instance all the same, to be shown in a page (`blog.core.refusals`).
    """

    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
    pattern: Annotated[str, StringConstraints(pattern=r"^/[^\s?#]*$", max_length=512)]
    body_limit: Annotated[int, Field(ge=0)] | None = None
    answer_timeout: Annotated[float, Field(gt=0, le=3600)] | None = None
    shows_refusals: bool = False


class Instance(FrozenModel):
    """One running replica of a service. `id` is unique per start; `address` is what others dial.

    In a row of a registry `started_at` is the registry's time: since when it knows the service, whose
    order decides about routes. `up_since` is what the instance itself says of its start, for people.
    `weight` has no effect; it is on the wire.
    """

    id: InstanceId
    service: ServiceName
    address: AddressStr
    state: State = State.STARTING
    version: str = Field(default="", max_length=64)
    started_at: AwareDatetime
    up_since: AwareDatetime | None = None
    routes: Annotated[tuple[Route, ...], FailFast()] = ()
    reactions: Annotated[tuple[str, ...], FailFast()] = ()
    load: Load = Load()
    weight: int = Field(default=1, ge=0, le=1000)
    metadata: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def read(cls, row: object) -> tolerant.Reading[Self]:
        """Read a row of another version, as far as it can be read.

        There is none without an id, a service, an address, a state and a start that can be read: traffic
        depends on them. Of the routes, reactions and metadata only those members are left out that cannot
        be read.
        """
        return tolerant.read(cls, row, essential={"state"})

    @classmethod
    def announce(  # noqa: PLR0913 - it is the whole announcement
        cls,
        service: str,
        *,
        address: str,
        started_at: datetime,
        version: str = "",
        routes: tuple[Route, ...] = (),
        reactions: tuple[str, ...] = (),
        metadata: dict[str, str] | None = None,
    ) -> Self:
        """Make a new instance, `starting`, with an id of its own."""
        return cls(
            id=f"{service}-{new_id()}",
            service=service,
            address=address,
            started_at=started_at,
            version=version,
            routes=routes,
            reactions=reactions,
            metadata=metadata or {},
        )

    @property
    def running_since(self) -> datetime:
        """When it started, for people; no order follows from it."""
        return self.up_since or self.started_at

    def is_serving(self) -> bool:
        """Return whether it may get traffic (a suspect only if no instance is ready)."""
        return self.state in (State.READY, State.SUSPECT)
