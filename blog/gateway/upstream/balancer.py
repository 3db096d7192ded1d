"""Balancer: which instance gets a request, and what is learnt from how it went.

Joins discovery, ejection and the retry budget; does no I/O beyond reporting to the registry.
"""

import random
from collections.abc import Callable, Collection, Container, Mapping
from typing import TypeAlias

from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.stats import GatewayStats
from blog.gateway.upstream.ejection import Ejection
from blog.gateway.upstream.retry import RetryBudget
from blog.gateway.upstream.upstreams import Upstream, UpstreamSet
from blog.registry.client.discovery import Discovery

OnChange: TypeAlias = Callable[[Mapping[str, Instance], list[Upstream]], None]
"""Takes the instances known now, and the upstreams that get no more requests."""

CONFLICTS_LOGGED = 20
"""Lines about new conflicts that one change of the table makes at most."""

log = get_logger()


class LoadBalancer:
    """Selects an upstream per request. `report(id, why)` tells the registry which cannot be reached."""

    def __init__(
        self,
        discovery: Discovery,
        report: Callable[[str, str], None],
        clock: Clock,
        stats: GatewayStats,
        routes: RouteTable,
    ) -> None:
        self.routes = routes
        self.ejection = Ejection()
        self.budget = RetryBudget(clock.monotonic())
        self.upstreams = UpstreamSet()
        self._discovery = discovery
        self._report = report
        self._now = clock.monotonic
        self._stats = stats
        self._sample = random.Random().sample  # noqa: S311 - chance, not a secret
        self._on_change: OnChange = lambda *_: None

    def on_change(self, call: OnChange) -> None:
        """Call `call` with each change of the instances."""
        self._on_change = call

    def follow(self) -> Callable[[], None]:
        """Keep up with discovery until the returned function is called."""
        self._update()
        return self._discovery.on_change(self._update)

    def is_complete(self) -> bool:
        """Return whether no instance is missing from the table, so that every route is known."""
        return self._discovery.is_complete

    def select(self, service: str, tried: Collection[str], now: float) -> Upstream | None:
        """Return the upstream for a request: none of those `tried`, and none at its limit.

        An ejected one is selected only if there is no other.
        """
        ejected = self.ejection.ejected(now)
        full = self.upstreams.full
        if not (tried or len(ejected) or full or self.upstreams.least_request):
            selected = self._discovery.next_id(service)
            return self.upstreams.by_id.get(selected) if selected is not None else None
        busy_or_tried = _UnionOfIds(tried, full)
        upstream = self._choose(service, _UnionOfIds(busy_or_tried, ejected)) if len(ejected) else None
        return upstream or self._choose(service, busy_or_tried)

    def record_response(self, upstream: Upstream, status: int) -> None:
        """Record a response."""
        if status >= 500:  # noqa: PLR2004 - the server errors, RFC 9110 §15.6
            self._count_failure(upstream.instance)
        else:
            self.ejection.record_success(upstream.id)

    def record_unreachable(self, upstream: Upstream, why: str) -> None:
        """Record that the request could not be sent, and report that to the registry."""
        instance = upstream.instance
        log.info("upstream.unreachable", id=instance.id, address=instance.address, reason=why)
        self._report(instance.id, why)
        self._count_failure(instance)
        self._stats.retries["never_sent"] += 1

    def record_failure(self, upstream: Upstream, why: str) -> None:
        """Record that the response broke off, or took too long."""
        instance = upstream.instance
        log.warning("upstream.failed", id=instance.id, address=instance.address, reason=why)
        self._count_failure(instance)

    def try_spend_retry(self) -> bool:
        """Spend one retry of the budget; return False when there is none left."""
        if self.budget.try_spend(self._now()):
            self._stats.retries["broken"] += 1
            return True
        log.warning("retry.budget_exhausted")
        return False

    def _choose(self, service: str, skip: Container[str]) -> Upstream | None:
        if service in self.upstreams.least_request:
            return self.upstreams.least_loaded(service, skip, self._sample)
        selected = self._discovery.next_id(service, skip)
        return self.upstreams.by_id.get(selected) if selected is not None else None

    def _count_failure(self, instance: Instance) -> None:
        peers = {one.id for one in self._discovery.serving(instance.service)}
        seconds = self.ejection.record_failure(instance.id, peers, self._now())
        if seconds is not None:
            log.warning("instance.ejected", id=instance.id, seconds=seconds)
            self._stats.ejections[instance.service] += 1

    def _update(self) -> None:
        """Apply the new table: routes, upstreams, and which of them cannot be relied on."""
        known = self._discovery.instances
        _update_routes(self.routes, self._discovery)
        self._stats.retain(self.routes.services)
        self.ejection.retain(known)
        self._on_change(known, self.upstreams.update(known))

    def __repr__(self) -> str:
        """Show what it decides by."""
        return f"<LoadBalancer: {self.ejection!r} {self.budget!r} {self.upstreams!r}>"


def follow_routes(discovery: Discovery, routes: RouteTable) -> Callable[[], None]:
    """Keep `routes` up with `discovery` until the returned function is called."""
    _update_routes(routes, discovery)
    return discovery.on_change(lambda: _update_routes(routes, discovery))


def _update_routes(routes: RouteTable, discovery: Discovery) -> None:
    """Apply the table, and log the conflicts that are new."""
    known = routes.router.conflicts
    if not routes.update(discovery.instances.values(), is_complete=discovery.is_complete):
        return
    was_known = frozenset(known)
    new = [conflict for conflict in routes.router.conflicts if conflict not in was_known]
    for conflict in new[:CONFLICTS_LOGGED]:
        log.warning("route.conflict", **conflict._asdict())
    if len(new) > CONFLICTS_LOGGED:
        log.warning("route.conflicts", not_shown=len(new) - CONFLICTS_LOGGED)


class _UnionOfIds(Container[str]):
    """In one or in the other, without copying."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._first or item in self._second
