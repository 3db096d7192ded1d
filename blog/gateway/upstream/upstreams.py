"""Upstreams: the instances as the gateway sees them: how busy each is, and how busy it may be. Pure.

An instance may say in its metadata how many requests it takes at once (`connections`), and which
load-balancing policy its service has (`turn`).
"""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, TypeAlias

from blog.core.instance import LB_POLICY_KEY, Instance, State
from blog.core.numbers import whole
from blog.core.web import INSTANCE_HEADER
from blog.http.client import ClientConnection

SERVED_BY_HEADER = "Blog-Served-By"
CONNECTIONS_KEY: Final = "connections"
CONNECTION_LIMIT = 1024
"""Requests that an instance takes at once if it says nothing else."""


class Upstream:
    """One instance. `active` is how many requests it has now; `idle` are connections without one.

    What is written for each request is formatted once: `instance_line` and `served_by_line` are header
    lines, `json_id` is the id as JSON.
    """

    __slots__ = (
        "active",
        "id",
        "idle",
        "instance",
        "instance_line",
        "is_retired",
        "json_id",
        "limit",
        "served_by_line",
    )

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.id = instance.id
        self.active = 0
        self.limit = _limit(instance)
        self.idle: list[ClientConnection] = []
        self.is_retired = False
        self.json_id = json.dumps(instance.id).encode()
        self.instance_line = f"{INSTANCE_HEADER}: {instance.id}\r\n".encode()
        self.served_by_line = f"{SERVED_BY_HEADER}: {instance.service}/{instance.id}\r\n".encode()

    def __repr__(self) -> str:
        """Show how busy it is."""
        return f"<Upstream {self.instance.id}: {self.active} active, {len(self.idle)} idle>"


Sample: TypeAlias = Callable[[Sequence[Upstream], int], Sequence[Upstream]]
"""Picks so many different ones at random."""


class UpstreamSet:
    """Every instance that may get requests. `full` are the ids of those at their limit."""

    def __init__(self) -> None:
        self.by_id: dict[str, Upstream] = {}
        self.full: set[str] = set()
        self.least_request: dict[str, list[Upstream]] = {}
        """For services with the policy least-request: those that may be selected."""

    def update(self, known: Mapping[str, Instance]) -> list[Upstream]:
        """Apply the instances known now; return the upstreams that get no more requests."""
        retired = [self._retire(id_) for id_ in self.by_id.keys() - self._serving(known)]
        for instance in known.values():
            upstream = self.by_id.get(instance.id)
            if upstream is None:
                if instance.is_serving():
                    self.by_id[instance.id] = Upstream(instance)
            elif upstream.instance.address == instance.address:
                upstream.instance = instance
            else:
                retired.append(self._retire(instance.id))
                self.by_id[instance.id] = Upstream(instance)
        self.least_request = {}
        for upstream in self.by_id.values():
            if upstream.instance.metadata.get(LB_POLICY_KEY) == "least-request":
                self.least_request.setdefault(upstream.instance.service, []).append(upstream)
        return retired

    def acquire(self, upstream: Upstream) -> None:
        """Count a request that goes to `upstream`."""
        upstream.active += 1
        if upstream.active >= upstream.limit:
            self.full.add(upstream.id)

    def release(self, upstream: Upstream) -> None:
        """Count a request that is over."""
        upstream.active -= 1
        if self.full and upstream.active < upstream.limit:
            self.full.discard(upstream.id)

    def least_loaded(self, service: str, skip: Container[str], sample: Sample) -> Upstream | None:
        """Return the less busy of two that `sample` picks (power of two choices), ready ones first."""
        among = [one for one in self.least_request[service] if one.instance.id not in skip]
        ready = [one for one in among if one.instance.state is State.READY] or among
        if len(ready) < 2:  # noqa: PLR2004 - two choices
            return ready[0] if ready else None
        return min(sample(ready, 2), key=lambda upstream: upstream.active)

    def _retire(self, id_: str) -> Upstream:
        upstream = self.by_id.pop(id_)
        upstream.is_retired = True
        self.full.discard(id_)
        return upstream

    @staticmethod
    def _serving(known: Mapping[str, Instance]) -> set[str]:
        return {id_ for id_, instance in known.items() if instance.is_serving()}

    def __repr__(self) -> str:
        """Show every upstream."""
        return f"<UpstreamSet: {list(self.by_id.values())!r}>"


def _limit(instance: Instance) -> int:
    """Return the limit in the metadata; one that is not a positive number is ignored."""
    return whole(instance.metadata.get(CONNECTIONS_KEY, "")) or CONNECTION_LIMIT
