"""Turns: which instance gets a request next, and what is learnt from how it went.

Joins discovery, ejection and the retry budget; does no I/O beyond telling the registry.
"""

from collections.abc import Callable, Container

from prometheus_client import CollectorRegistry, Counter

from blog.core.clock import Clock
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.gateway.cuts import Cuts
from blog.gateway.ejection import Ejection
from blog.gateway.retry import RetryBudget
from blog.gateway.routing import RouteTable
from blog.gateway.upstream import NeverSent
from blog.registry.discovery import Discovery

log = get_logger()


class Turns:
    """Whose turn it is. `report(id, why)` tells the registry who cannot be reached."""

    def __init__(
        self,
        discovery: Discovery,
        report: Callable[[str, str], None],
        clock: Clock,
        metrics: CollectorRegistry,
        routes: RouteTable,
    ) -> None:
        self.routes = routes
        self.waiting = Cuts()
        self.ejection = Ejection()
        self.budget = RetryBudget(clock.monotonic())
        self._discovery = discovery
        self._report = report
        self._clock = clock
        self._retries = Counter(
            "blog_gateway_retries", "Requests sent to another instance.", ("why",), registry=metrics
        )
        self._ejections = Counter(
            "blog_gateway_ejections", "Instances left out for a while.", ("service",), registry=metrics
        )

    def follow(self) -> Callable[[], None]:
        """Keep up with discovery until the returned function is called."""
        self._changed()
        return self._discovery.on_change(self._changed)

    def is_known(self) -> bool:
        """Tell whether a registry has said who is there, at least once."""
        return self._discovery.epoch is not None

    def next(self, service: str, tried: Container[str]) -> Instance | None:
        """Return whose turn it is among those not tried; who is ejected only if there is nobody else."""
        out = self.ejection.out(self._clock.monotonic())
        chosen = self._discovery.next(service, _Either(tried, out)) if out else None
        return chosen or self._discovery.next(service, tried)

    def began(self) -> None:
        """Note a request: it earns a share of a retry."""
        self.budget.request(self._clock.monotonic())

    def answered(self, instance: Instance, status: int) -> None:
        """Note an answer."""
        if status >= 500:  # noqa: PLR2004 - the server errors, RFC 9110 §15.6
            self._failed(instance)
        else:
            self.ejection.succeeded(instance.id)

    def not_reached(self, instance: Instance, failure: NeverSent) -> None:
        """Note that the request was not sent, and tell the registry if nobody is there."""
        log.info("upstream.not_reached", id=instance.id, address=instance.address, why=failure.why)
        if failure.is_gone:
            self._report(instance.id, failure.why)
        self._failed(instance)
        self._retries.labels("never_sent").inc()

    def broke(self, instance: Instance, why: str) -> None:
        """Note that an instance broke off, or took too long."""
        log.warning("upstream.broke", id=instance.id, address=instance.address, why=why)
        self._failed(instance)

    def may_repeat(self) -> bool:
        """Take one retry out of the budget, if it has any."""
        if self.budget.take(self._clock.monotonic()):
            self._retries.labels("broken").inc()
            return True
        log.warning("retry.budget_spent")
        return False

    def _failed(self, instance: Instance) -> None:
        peers = {one.id for one in self._discovery.serving(instance.service)}
        seconds = self.ejection.failed(instance.id, peers, self._clock.monotonic())
        if seconds is not None:
            log.warning("instance.ejected", id=instance.id, seconds=seconds)
            self._ejections.labels(instance.service).inc()

    def _changed(self) -> None:
        """Take in the new table: routes, and who waits for somebody that cannot be counted on."""
        known = self._discovery.instances
        if self.routes.update(known.values()):
            for conflict in self.routes.router.conflicts:
                log.warning("route.conflict", **conflict._asdict())
        self.ejection.keep(known)
        for id_ in self.waiting.names():
            if id_ not in known or known[id_].state is State.SUSPECT:
                self.waiting.cut(id_)

    def __repr__(self) -> str:
        """Show what decides."""
        return f"<Turns: {self.ejection!r} {self.budget!r} {self.waiting!r}>"


class _Either(Container[str]):
    """In one or in the other, without copying."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._first or item in self._second
