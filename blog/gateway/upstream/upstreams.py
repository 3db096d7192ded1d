"""Targets: the instances as the gateway talks to them: what each has to do, and may have. Pure.

An instance may say in its metadata how many requests it takes at once (`connections`), and how its
service's turns are taken (`turn`).
"""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, TypeAlias

from blog.core.instance import LB_POLICY_KEY, Instance, State
from blog.gateway.proxy.headers import SERVED_BY_HEADER
from blog.http.client import ClientConnection

CONNECTIONS_KEY: Final = "connections"
CONNECTION_LIMIT = 1024
"""Requests that an instance gets at once if it says nothing else."""


class Upstream:
    """One instance. `active` are the requests it has now; `idle` the connections that wait for one.

    What is written for each request is spelt once: `meant` and `served_by` as lines, `quoted` as JSON.
    """

    __slots__ = (
        "active",
        "id",
        "idle",
        "instance",
        "is_retired",
        "limit",
        "meant",
        "quoted",
        "served_by",
    )

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.id = instance.id
        self.active = 0
        self.limit = _limit(instance)
        self.idle: list[ClientConnection] = []
        self.is_retired = False
        self.quoted = json.dumps(instance.id).encode()
        self.meant = f"Blog-Instance: {instance.id}\r\n".encode()
        self.served_by = f"{SERVED_BY_HEADER}: {instance.service}/{instance.id}\r\n".encode()

    def __repr__(self) -> str:
        """Show what it has to do."""
        return f"<Upstream {self.instance.id}: {self.active} active, {len(self.idle)} idle>"


Sample: TypeAlias = Callable[[Sequence[Upstream], int], Sequence[Upstream]]
"""Picks so many different ones at random."""


class UpstreamSet:
    """Every instance that may have something to do. `full` are the ids of those at their limit."""

    def __init__(self) -> None:
        self.by_id: dict[str, Upstream] = {}
        self.full: set[str] = set()
        self.least_request: dict[str, list[Upstream]] = {}
        """For services that take turns by load: those that may be chosen."""

    def update(self, known: Mapping[str, Instance]) -> list[Upstream]:
        """Take in who is known now; return the targets that get no more requests."""
        retired = [self._retire(id_) for id_ in self.by_id.keys() - self._serving(known)]
        for instance in known.values():
            target = self.by_id.get(instance.id)
            if target is None:
                if instance.is_serving():
                    self.by_id[instance.id] = Upstream(instance)
            elif target.instance.address == instance.address:
                target.instance = instance
            else:
                retired.append(self._retire(instance.id))
                self.by_id[instance.id] = Upstream(instance)
        self.least_request = {}
        for target in self.by_id.values():
            if target.instance.metadata.get(LB_POLICY_KEY) == "least-request":
                self.least_request.setdefault(target.instance.service, []).append(target)
        return retired

    def take(self, target: Upstream) -> None:
        """Count a request that goes to it."""
        target.active += 1
        if target.active >= target.limit:
            self.full.add(target.id)

    def give_back(self, target: Upstream) -> None:
        """Count a request that is over."""
        target.active -= 1
        if self.full and target.active < target.limit:
            self.full.discard(target.id)

    def least_busy(self, service: str, skip: Container[str], sample: Sample) -> Upstream | None:
        """Return the less busy of two that `sample` picks (power of two choices), ready ones first."""
        among = [target for target in self.least_request[service] if target.instance.id not in skip]
        ready = [target for target in among if target.instance.state is State.READY] or among
        if len(ready) < 2:  # noqa: PLR2004 - two choices
            return ready[0] if ready else None
        return min(sample(ready, 2), key=lambda target: target.active)

    def _retire(self, id_: str) -> Upstream:
        target = self.by_id.pop(id_)
        target.is_retired = True
        self.full.discard(id_)
        return target

    @staticmethod
    def _serving(known: Mapping[str, Instance]) -> set[str]:
        return {id_ for id_, instance in known.items() if instance.is_serving()}

    def __repr__(self) -> str:
        """Show everybody."""
        return f"<UpstreamSet: {list(self.by_id.values())!r}>"


def _limit(instance: Instance) -> int:
    """Read the limit; what is no number is none."""
    said = instance.metadata.get(CONNECTIONS_KEY, "")
    return int(said) if said.isdecimal() and int(said) > 0 else CONNECTION_LIMIT
