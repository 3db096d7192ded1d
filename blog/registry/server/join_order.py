"""Join order: since when a registry knows each service, by its own clock. Pure.

A route that two services declare belongs to the one that the registry knew first. What a joiner says of
its own start decides nothing: it may have no clock, a wrong one, or want the routes of others.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from blog.core.instance import Instance

FORGET_SERVICE_AFTER = timedelta(seconds=60)
"""How long a service without instances keeps its place; that of `completeness.FORGET_AFTER`."""
LONGEST_RUN = timedelta(days=3650)
"""An instance that says that it has run for longer has no clock."""

_NEXT = timedelta(microseconds=1)


class JoinOrder:
    """The services in the order in which the registry came to know them.

    `began` is when the registry started; the services that it `remembered` from before, in their order,
    come before all others.
    """

    def __init__(self, began: datetime, remembered: Iterable[str] = ()) -> None:
        names = tuple(remembered)
        self._since = {
            name: began - timedelta(milliseconds=len(names) - place) for place, name in enumerate(names)
        }
        self._latest = began
        self._last_seen = dict.fromkeys(names, began)

    def stamped(self, instance: Instance, now: datetime) -> Instance:
        """Return the row of an instance that joins: with the registry's time for its own.

        `started_at` becomes that of its service in this order. What the instance says of its start
        becomes `up_since`, for people; `now` where it cannot be.
        """
        claimed = instance.started_at
        up_since = claimed if now - LONGEST_RUN <= claimed <= now else now
        started_at = self._since_of(instance.service, now)
        return instance.model_copy(update={"started_at": started_at, "up_since": up_since})

    def forget(self, present: Collection[str], now: datetime) -> None:
        """Forget services that have had no instance for long; `present` are those that have one."""
        for name in present:
            self._last_seen[name] = now
        for name, seen in list(self._last_seen.items()):
            if now - seen >= FORGET_SERVICE_AFTER:
                del self._last_seen[name]
                self._since.pop(name, None)

    def in_order(self, services: Iterable[str]) -> list[str]:
        """Sort services by since when they are known; those that are not come last."""
        return sorted(services, key=lambda name: (self._since.get(name, self._latest + _NEXT), name))

    def _since_of(self, service: str, now: datetime) -> datetime:
        if service not in self._since:
            # no two at the same time: a clock may be coarse
            self._latest = max(now, self._latest + _NEXT)
            self._since[service] = self._latest
        self._last_seen[service] = now
        return self._since[service]

    def __repr__(self) -> str:
        """Show the services in their order."""
        return f"<JoinOrder {', '.join(self.in_order(self._since)) or 'of no service'}>"
