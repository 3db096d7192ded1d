"""Turns: which instance gets a request next, and what is learnt from how it went.

Joins discovery, ejection and the retry budget; does no I/O beyond telling the registry.
"""

import random
from collections.abc import Callable, Collection, Container, Mapping

from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.stats import GatewayStats
from blog.gateway.upstream.ejection import Ejection
from blog.gateway.upstream.retry import RetryBudget
from blog.gateway.upstream.upstreams import Upstream, UpstreamSet
from blog.registry.client.discovery import Discovery

log = get_logger()


class LoadBalancer:
    """Whose turn it is. `report(id, why)` tells the registry who cannot be reached."""

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
        self.targets = UpstreamSet()
        self._discovery = discovery
        self._report = report
        self._now = clock.monotonic
        self._stats = stats
        self._sample = random.Random().sample  # noqa: S311 - chance, not a secret
        self._in_doubt: Callable[[Mapping[str, Instance], list[Upstream]], None] = lambda *_: None

    def listen(self, in_doubt: Callable[[Mapping[str, Instance], list[Upstream]], None]) -> None:
        """Let `in_doubt(known, retired)` hear of changes: everybody, and who gets no more requests."""
        self._in_doubt = in_doubt

    def follow(self) -> Callable[[], None]:
        """Keep up with discovery until the returned function is called."""
        self._changed()
        return self._discovery.on_change(self._changed)

    def is_complete(self) -> bool:
        """Return whether nobody is missing from the table, so that every route is known."""
        return self._discovery.is_complete

    def next(self, service: str, tried: Collection[str], now: float) -> Upstream | None:
        """Return whose turn it is among those not tried and not at their limit.

        Who is ejected gets a turn only if there is nobody else.
        """
        out = self.ejection.out(now)
        full = self.targets.full
        if not (tried or len(out) or full or self.targets.least_request):
            chosen = self._discovery.next_id(service)
            return self.targets.by_id.get(chosen) if chosen is not None else None
        busy_or_tried = _UnionOfIds(tried, full)
        target = self._choose(service, _UnionOfIds(busy_or_tried, out)) if len(out) else None
        return target or self._choose(service, busy_or_tried)

    def answered(self, target: Upstream, status: int) -> None:
        """Note an answer."""
        if status >= 500:  # noqa: PLR2004 - the server errors, RFC 9110 §15.6
            self._failed(target.instance)
        else:
            self.ejection.succeeded(target.id)

    def not_reached(self, target: Upstream, why: str) -> None:
        """Note that nobody took the request there, and tell the registry."""
        instance = target.instance
        log.info("upstream.not_reached", id=instance.id, address=instance.address, why=why)
        self._report(instance.id, why)
        self._failed(instance)
        self._stats.retries["never_sent"] += 1

    def broke(self, target: Upstream, why: str) -> None:
        """Note that an instance broke off, or took too long."""
        instance = target.instance
        log.warning("upstream.broke", id=instance.id, address=instance.address, why=why)
        self._failed(instance)

    def may_repeat(self) -> bool:
        """Take one retry out of the budget, if it has any."""
        if self.budget.take(self._now()):
            self._stats.retries["broken"] += 1
            return True
        log.warning("retry.budget_spent")
        return False

    def _choose(self, service: str, skip: Container[str]) -> Upstream | None:
        if service in self.targets.least_request:
            return self.targets.least_busy(service, skip, self._sample)
        chosen = self._discovery.next_id(service, skip)
        return self.targets.by_id.get(chosen) if chosen is not None else None

    def _failed(self, instance: Instance) -> None:
        peers = {one.id for one in self._discovery.serving(instance.service)}
        seconds = self.ejection.failed(instance.id, peers, self._now())
        if seconds is not None:
            log.warning("instance.ejected", id=instance.id, seconds=seconds)
            self._stats.ejections[instance.service] += 1

    def _changed(self) -> None:
        """Take in the new table: routes, targets, and who cannot be counted on."""
        known = self._discovery.instances
        _update(self.routes, known)
        self.ejection.keep(known)
        self._in_doubt(known, self.targets.update(known))

    def __repr__(self) -> str:
        """Show what decides."""
        return f"<LoadBalancer: {self.ejection!r} {self.budget!r} {self.targets!r}>"


def follow_routes(discovery: Discovery, routes: RouteTable) -> Callable[[], None]:
    """Keep `routes` up with `discovery` until the returned function is called."""
    _update(routes, discovery.instances)
    return discovery.on_change(lambda: _update(routes, discovery.instances))


def _update(routes: RouteTable, known: Mapping[str, Instance]) -> None:
    if routes.update(known.values()):
        for conflict in routes.router.conflicts:
            log.warning("route.conflict", **conflict._asdict())


class _UnionOfIds(Container[str]):
    """In one or in the other, without copying."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._first or item in self._second
