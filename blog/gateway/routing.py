"""Routing: method and path → service, compiled from what instances declare. Pure.

The most specific pattern wins: segment by segment from the left, a literal before a `{parameter}`.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from blog.core.instance import Instance, Route

_INTERNAL = frozenset({"events", "reactions", "readyz", "healthz", "metrics", "refused", "v1"})
_DOTS = frozenset({".", ".."})
_CACHE_LIMIT = 4096
_PARAMETER = re.compile(r"\{[^{}]+\}")


class RouteMatch(NamedTuple):
    """A route was found: who declares it, and how it is written there."""

    service: str
    pattern: str
    body_limit: int | None = None
    response_timeout: float | None = None
    shows_refusals: bool = False


class NoSuchPath(NamedTuple):
    """No service declares this path."""


class NoSuchMethod(NamedTuple):
    """The path is declared, but only for the methods `allowed` (sorted; HEAD where GET is)."""

    allowed: tuple[str, ...]


class RouteConflict(NamedTuple):
    """Two services declare the same route; `kept_by` has it, `refused` does not get it."""

    method: str
    pattern: str
    kept_by: str
    refused: str


@dataclass(slots=True)
class _Node:
    """One place in the tree of segments."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    methods: dict[str, RouteMatch] = field(default_factory=dict)

    def below(self, segment: str) -> "_Node":
        """Return the node for one segment of a pattern, made if it is not there yet."""
        if not _PARAMETER.fullmatch(segment):
            return self.literals.setdefault(segment, _Node())
        self.parameter = self.parameter or _Node()
        return self.parameter

    def find(self, segments: list[str], at: int = 0) -> Iterator["_Node"]:
        """Yield the nodes that fit `segments`, the most specific first."""
        if at == len(segments):
            yield self
            return
        if literal := self.literals.get(segments[at]):
            yield from literal.find(segments, at + 1)
        if self.parameter and segments[at]:
            yield from self.parameter.find(segments, at + 1)


class Router:
    """The routes of `instances`. A route belongs to the service that the registry knew first.

    That is the service with the earliest `started_at`, unless `seniority` (service → rank, lower comes
    first) says otherwise, or `owners` ((method, pattern) → service) for a route that has an owner.
    """

    def __init__(
        self,
        instances: Iterable[Instance],
        seniority: Mapping[str, "Seniority"] | None = None,
        owners: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self.conflicts: list[RouteConflict] = []
        self._root = _Node()
        self._routes: dict[RouteMatch, set[str]] = {}
        self._cache: dict[tuple[str, str], RouteMatch] = {}
        known = list(instances)
        ranks = _seniority(known) if seniority is None else seniority
        later: list[tuple[str, Route]] = []
        for instance in sorted(known, key=lambda one: (ranks[one.service], one.started_at, one.id)):
            for route in instance.routes:
                if owners and owners.get((route.method, _shape(route.pattern))) not in (
                    None,
                    instance.service,
                ):
                    later.append((instance.service, route))
                else:
                    self._declare(instance.service, route)
        for service, route in later:
            self._declare(service, route)

    def match(self, method: str, path: str) -> RouteMatch | NoSuchPath | NoSuchMethod:
        """Find the route of `method` at `path`, the raw one, percent-encoded and without query.

        Internal paths of instances are never found, nor are paths with dot segments.
        """
        cached = self._cache.get((method, path))
        if cached is not None:
            return cached
        found = self._find(method, path)
        if isinstance(found, RouteMatch):
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[method, path] = found
        return found

    def _find(self, method: str, path: str) -> RouteMatch | NoSuchPath | NoSuchMethod:
        segments = path.split("/")
        if segments.pop(0) or not segments:
            return NoSuchPath()
        if "%" in path:
            segments = [unquote(segment) for segment in segments]
        if segments[0] in _INTERNAL or not _DOTS.isdisjoint(segments):
            return NoSuchPath()
        fallback = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for node in self._root.find(segments):
            if found := node.methods.get(method) or node.methods.get(fallback):
                return found
            allowed |= node.methods.keys()
        if "GET" in allowed:
            allowed.add("HEAD")
        return NoSuchMethod(tuple(sorted(allowed))) if allowed else NoSuchPath()

    def routes(self) -> list[tuple[str, RouteMatch]]:
        """List (method, match) of every route, by pattern."""
        listed = [(method, match) for match, methods in self._routes.items() for method in methods]
        return sorted(listed, key=lambda one: (one[1].pattern, one[0]))

    def owner(self, method: str, pattern: str) -> str | None:
        """Return the service that has the route of a pattern; None if nobody has."""
        node: _Node | None = self._root
        for segment in pattern.split("/")[1:]:
            if node is None:
                return None
            node = node.parameter if _PARAMETER.fullmatch(segment) else node.literals.get(segment)
        match = node.methods.get(method) if node is not None else None
        return match.service if match is not None else None

    def _declare(self, service: str, route: Route) -> None:
        segments = route.pattern.split("/")[1:]
        if segments[0] in _INTERNAL:
            return
        node = self._root
        for segment in segments:
            node = node.below(segment)
        declared = RouteMatch(
            service, route.pattern, route.body_limit, route.answer_timeout, route.shows_refusals
        )
        match = node.methods.setdefault(route.method, declared)
        if match.service == service:
            self._routes.setdefault(match, set()).add(route.method)
            return
        conflict = RouteConflict(route.method, route.pattern, match.service, service)
        if conflict not in self.conflicts:
            self.conflicts.append(conflict)

    def __repr__(self) -> str:
        """Show every route and its service."""
        shown = (f"{method} {match.pattern} → {match.service}" for method, match in self.routes())
        return f"<Router: {', '.join(shown) or 'nothing'}>"


class Seniority(NamedTuple):
    """Which service comes first: live ones before those that are only remembered, then the older."""

    is_gone: bool
    first_started: datetime
    service: str


class RouteTable:
    """The routes as instances come and go. A service keeps its routes while it has no live instance.

    So the gateway can respond with 503 instead of 404. While a service lives and declares a route that
    it has, no other gets it, whatever that one says.
    """

    def __init__(self) -> None:
        self.router = Router(())
        self._was_complete = False
        self._first: dict[str, datetime] = {}
        self._last: dict[str, list[Instance]] = {}

    def update(self, instances: Iterable[Instance], *, is_complete: bool = True) -> bool:
        """Apply the instances known now; return whether any route or conflict changed.

        Until the table `is_complete` a route has no owner yet: the older service may still be missing.
        """
        live: dict[str, list[Instance]] = {}
        for instance in instances:
            live.setdefault(instance.service, []).append(instance)
            first = self._first.get(instance.service, instance.started_at)
            self._first[instance.service] = min(first, instance.started_at)
        self._last |= live
        ranks = {
            service: Seniority(service not in live, first, service)
            for service, first in self._first.items()
        }
        before = (self.router.routes(), self.router.conflicts)
        rows = [one for known in self._last.values() for one in known]
        router = Router(rows, ranks)
        owners = self._owners(router, live) if self._was_complete else {}
        self.router = Router(rows, ranks, owners) if owners else router
        self._was_complete = is_complete
        return (self.router.routes(), self.router.conflicts) != before

    def _owners(self, router: Router, live: Container[str]) -> dict[tuple[str, str], str]:
        """Return the owners up to now of the routes that `router` gives to another service."""
        owners = {}
        for conflict in router.conflicts:
            owner = self.router.owner(conflict.method, conflict.pattern)
            if owner is not None and owner != conflict.kept_by and owner in live:
                owners[conflict.method, _shape(conflict.pattern)] = owner
        return owners

    def __repr__(self) -> str:
        """Show the routes now."""
        return f"<RouteTable: {self.router!r}>"


def _shape(pattern: str) -> str:
    """Return a pattern without the names of its parameters, which do not matter to a match."""
    return "/".join("{}" if _PARAMETER.fullmatch(part) else part for part in pattern.split("/"))


def _seniority(instances: Iterable[Instance]) -> dict[str, Seniority]:
    first: dict[str, datetime] = {}
    for one in instances:
        first[one.service] = min(first.get(one.service, one.started_at), one.started_at)
    return {service: Seniority(False, started, service) for service, started in first.items()}
