"""Completeness: whether a registry that has just started knows every instance again. Pure.

Not knowing yet must never look like knowing that there is nothing. Until its table is complete, a
registry says so in every snapshot, followers keep what they had, and a gateway responds with 503, not
404, for an unknown path.
"""

from collections.abc import Iterable, Mapping

from blog.registry.messages import NEVER_AWAITED

RETURN_WITHIN = 5.0
"""Seconds after its start in which a registry waits for every expected instance, by id and by number."""
GIVE_UP_AFTER = 30.0
"""Seconds after its start in which it waits for a first instance of each service that is expected."""

FORGET_AFTER = 60.0
"""Seconds for which a service must have fewer instances until fewer are remembered. Stopping a blog, or
shutting down a machine, takes less: what ran before counts after the next start."""


class Completeness:
    """The instances that are still missing. `began` is when the registry started.

    Two sources say which instances belong to this blog: the registry's own memory (`remembered`: how many
    it knew of each service) and a master (`expect_services`), which overrides it for the services that it
    names. Without either, nobody knows what is still to come, and the table is complete after
    `RETURN_WITHIN`. Instances that followers knew (`expect`) are waited for as well, but prove nothing:
    a follower knows only what it follows.
    """

    def __init__(self, began: float = 0.0, remembered: Mapping[str, int] | None = None) -> None:
        self._began = began
        self._remembered = _awaited(remembered or {})
        self._by_master: dict[str, int] | None = None
        self._missing: set[str] = set()
        self._resolved: set[str] = set()
        self._is_complete = False

    def expect_services(self, services: Mapping[str, int]) -> None:
        """Wait for so many ready instances of each service; an empty mapping: none is to come.

        Each call replaces the one before.
        """
        self._by_master = dict(services)

    def expect(self, ids: Iterable[str], now: float) -> None:
        """Wait for the instances `ids` too, which a follower knew before."""
        if not self._is_complete and now - self._began < RETURN_WITHIN:
            self._missing.update(id_ for id_ in ids if id_ not in self._resolved)

    def resolve(self, instance_id: str) -> None:
        """Stop waiting for an instance: it is ready, draining or gone."""
        if not self._is_complete:
            self._resolved.add(instance_id)
            self._missing.discard(instance_id)

    def is_complete(self, now: float, serving: Mapping[str, int]) -> bool:
        """Return whether no instance is missing; it stays so. `serving` counts each service."""
        if not self._is_complete and self._is_nothing_missing(now - self._began, serving):
            self._is_complete = True
            self._remembered, self._by_master = {}, None
            self._missing, self._resolved = set(), set()
        return self._is_complete

    def _is_nothing_missing(self, age: float, serving: Mapping[str, int]) -> bool:
        if age < RETURN_WITHIN:
            is_known = bool(self._remembered) or self._by_master is not None
            are_there = all(serving.get(name, 0) >= count for name, count in self._expected().items())
            return is_known and are_there and not self._missing
        # a service that is only remembered was perhaps removed; a master knows what is to come
        services = self._remembered if self._by_master is None else _awaited(self._by_master)
        return age >= GIVE_UP_AFTER or all(serving.get(name, 0) for name in services)

    def _expected(self) -> dict[str, int]:
        """Return how many instances of each service are waited for at first."""
        return _awaited({**self._remembered, **(self._by_master or {})})

    def __repr__(self) -> str:
        """Show whether it is complete, and what is missing."""
        if self._is_complete:
            return "<Completeness: complete>"
        expected = self._expected() or "no service"
        return f"<Completeness: waits for {expected}, and {len(self._missing)} by id>"


class ServiceMemory:
    """How many instances of each service to know after a restart: more at once, fewer after a while."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._fewer_since: dict[str, float] = {}

    def update(self, serving: Mapping[str, int], now: float) -> Mapping[str, int]:
        """Take in how many instances there are now; return how many to remember."""
        for name in self._counts.keys() | serving.keys():
            count = serving.get(name, 0)
            since = self._fewer_since.setdefault(name, now)
            if count >= self._counts.get(name, 0) or now - since >= FORGET_AFTER:
                self._counts[name] = count
                del self._fewer_since[name]
        self._counts = {name: count for name, count in self._counts.items() if count}
        return self._counts

    def __repr__(self) -> str:
        """Show what is remembered."""
        return f"<ServiceMemory of {self._counts or 'no service'}>"


def _awaited(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count > 0 and name not in NEVER_AWAITED}
