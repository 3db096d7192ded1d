"""Completeness: whether a registry that has just started knows everybody again. Pure.

Not knowing yet is never told as knowing that there is nothing: until its table is complete, a registry
says so with every snapshot, followers keep what they had, and a gateway answers 503, not 404, for an
unknown path.
"""

from collections.abc import Iterable, Mapping

from blog.registry.messages import NEVER_AWAITED

RETURN_WITHIN = 5.0
"""Seconds after its start in which a registry waits for everybody, by id and by number."""
GIVE_UP_AFTER = 30.0
"""Seconds after its start in which it waits for a first instance of each service that was named."""

FORGET_AFTER = 60.0
"""Seconds for which fewer instances of a service have to be there until fewer are remembered. A blog that
is stopped, or a machine that goes down, takes less: what was there before counts after the next start."""


class Completeness:
    """Who is still missing. `began` is when the registry started.

    Two may say who belongs to this blog: the registry's own memory (`before`: how many it knew of each
    service) and a master (`name`), which knows better of the services that it names. Where neither did,
    nobody knows who is still to come, and the table is complete after `RETURN_WITHIN`. What followers
    knew (`expect`) is waited for as well, but proves nothing: they know only what they follow.
    """

    def __init__(self, began: float = 0.0, before: Mapping[str, int] | None = None) -> None:
        self._began = began
        self._before = _awaited(before or {})
        self._named: dict[str, int] | None = None
        self._missing: set[str] = set()
        self._met: set[str] = set()
        self._is_reached = False

    def name(self, services: Mapping[str, int]) -> None:
        """Wait for so many ready instances of each service; an empty mapping: nobody is to come.

        The last word counts.
        """
        self._named = dict(services)

    def expect(self, ids: Iterable[str], now: float) -> None:
        """Wait for the instances `ids` too, whom a follower knew before."""
        if not self._is_reached and now - self._began < RETURN_WITHIN:
            self._missing.update(id_ for id_ in ids if id_ not in self._met)

    def met(self, instance_id: str) -> None:
        """Wait no more for an instance: it is ready, or does not want to be, or is gone."""
        if not self._is_reached:
            self._met.add(instance_id)
            self._missing.discard(instance_id)

    def is_reached(self, now: float, serving: Mapping[str, int]) -> bool:
        """Return whether nobody is missing; once it is so, it stays so. `serving` counts each service."""
        if not self._is_reached and self._is_nobody_missing(now - self._began, serving):
            self._is_reached = True
            self._before, self._named, self._missing, self._met = {}, None, set(), set()
        return self._is_reached

    def _is_nobody_missing(self, age: float, serving: Mapping[str, int]) -> bool:
        if age < RETURN_WITHIN:
            is_named = bool(self._before) or self._named is not None
            are_there = all(serving.get(name, 0) >= count for name, count in self._wanted().items())
            return is_named and are_there and not self._missing
        # a service that only memory names was perhaps removed; a master knows what is to come
        longer = self._before if self._named is None else _awaited(self._named)
        return age >= GIVE_UP_AFTER or all(serving.get(name, 0) for name in longer)

    def _wanted(self) -> dict[str, int]:
        """Return how many of each service are waited for at first."""
        return _awaited({**self._before, **(self._named or {})})

    def __repr__(self) -> str:
        """Show whether it is reached, and what is waited for."""
        if self._is_reached:
            return "<Completeness: reached>"
        return f"<Completeness: waits for {self._wanted() or 'nobody'}, and {len(self._missing)} by id>"


class ServiceMemory:
    """How many instances of each service to know after a restart: more at once, fewer after a while."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._fewer_since: dict[str, float] = {}

    def seen(self, serving: Mapping[str, int], now: float) -> Mapping[str, int]:
        """Take in how many are there now; return how many to remember."""
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
        return f"<ServiceMemory of {self._counts or 'nobody'}>"


def _awaited(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count > 0 and name not in NEVER_AWAITED}
