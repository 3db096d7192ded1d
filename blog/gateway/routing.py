"""Routing: method and path → service, compiled from what instances declare. Pure.

The most specific pattern wins: segment by segment from the left, a literal before a `{parameter}`.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

from blog.core.instance import Instance, Route
from blog.gateway.declarations import (
    Declaration,
    DeclaredRoute,
    DeclaringService,
    Seniority,
    seniority_of,
)

REMEMBERED_SERVICES = 100
"""Services without instances whose routes are kept."""
REMEMBERED_ROUTES = 5_000
"""Routes of all of those."""
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
        if _is_parameter(segment):
            self.parameter = self.parameter or _Node()
            return self.parameter
        node = self.literals.get(segment)
        if node is None:
            node = self.literals[segment] = _Node()
        return node

    def find(self, segments: list[str]) -> Iterator["_Node"]:
        """Yield the nodes that fit `segments`, the most specific first."""
        ahead: list[tuple[_Node, int]] = [(self, 0)]
        while ahead:
            node, at = ahead.pop()
            if at == len(segments):
                yield node
                continue
            if node.parameter is not None and segments[at]:
                ahead.append((node.parameter, at + 1))
            literal = node.literals.get(segments[at])
            if literal is not None:
                ahead.append((literal, at + 1))


OwnerOf: TypeAlias = Callable[[str, str], str | None]
"""Takes method and pattern; returns the service that keeps that route, if one does."""


class Router:
    """The routes that are declared. A route belongs to the service that the registry knew first.

    That is the service with the earliest `started_at`, unless `seniority` (service → rank, lower comes
    first) says otherwise, or `owner_of` for a route that has an owner.
    """

    def __init__(
        self,
        declared: Iterable[Instance | Declaration],
        seniority: Mapping[str, Seniority] | None = None,
        owner_of: OwnerOf = lambda *_: None,
    ) -> None:
        self._root = _Node()
        self._routes: dict[RouteMatch, set[str]] = {}
        self._cache: dict[tuple[str, str], RouteMatch] = {}
        known = list(declared)
        ranks = seniority_of(known) if seniority is None else seniority
        first: list[tuple[str, Route | DeclaredRoute]] = []
        later: list[tuple[str, Route | DeclaredRoute]] = []
        for one in sorted(known, key=lambda one: (ranks[one.service], one.started_at, one.id)):
            for route in one.routes:
                is_free = owner_of(route.method, route.pattern) in (None, one.service)
                (first if is_free else later).append((one.service, route))
        refused = dict.fromkeys(self._declare(*one) for one in (*first, *later))
        self.conflicts = [conflict for conflict in refused if conflict is not None]

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
            node = node.parameter if _is_parameter(segment) else node.literals.get(segment)
        match = node.methods.get(method) if node is not None else None
        return match.service if match is not None else None

    def _declare(self, service: str, route: Route | DeclaredRoute) -> RouteConflict | None:
        """Give the route to `service`, unless another one has it; return that as a conflict."""
        segments = route.pattern.split("/")[1:]
        if segments[0] in _INTERNAL:
            return None
        node = self._root
        for segment in segments:
            node = node.below(segment)
        declared = RouteMatch(
            service, route.pattern, route.body_limit, route.answer_timeout, route.shows_refusals
        )
        match = node.methods.setdefault(route.method, declared)
        if match.service == service:
            self._routes.setdefault(match, set()).add(route.method)
            return None
        return RouteConflict(route.method, route.pattern, match.service, service)

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same routes and conflicts."""
        if not isinstance(other, Router):
            return NotImplemented
        return self._routes == other._routes and self.conflicts == other.conflicts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show every route and its service."""
        shown = (f"{method} {match.pattern} → {match.service}" for method, match in self.routes())
        return f"<Router: {', '.join(shown) or 'nothing'}>"


_Basis: TypeAlias = tuple[Seniority, tuple[tuple[DeclaredRoute, ...], ...]]
"""What the routes follow from: of each service its seniority, and what its instances declare."""


class RouteTable:
    """The routes as instances come and go. A service keeps its routes while it has no live instance.

    So the gateway can respond with 503 instead of 404. That is for services that have served, and so many
    of them, the older first. While a service lives and declares a route that it has, no other gets it,
    whatever that one says.
    """

    def __init__(self) -> None:
        self.router = Router(())
        self._was_complete = False
        self._known: dict[str, DeclaringService] = {}
        self._basis: dict[str, _Basis] = {}

    @property
    def services(self) -> Container[str]:
        """The services that have an instance, or had one and are remembered."""
        return self._known.keys()

    def update(self, instances: Iterable[Instance], *, is_complete: bool = True) -> bool:
        """Apply the instances known now; return whether any route or conflict changed.

        Until the table `is_complete` a route has no owner yet: the older service may still be missing.
        """
        live: dict[str, list[Instance]] = {}
        for instance in instances:
            live.setdefault(instance.service, []).append(instance)
        for service, rows in live.items():
            self._known.setdefault(service, DeclaringService(rows[0].started_at)).update(rows)
        self._forget_gone(live)
        was_complete, self._was_complete = self._was_complete, is_complete
        basis = {
            service: (
                Seniority(service not in live, one.first_started, service),
                tuple(d.routes for d in one.declared),
            )
            for service, one in self._known.items()
            if one.declared
        }
        if basis == self._basis:
            return False
        self._basis = basis
        return self._rebuild(live if was_complete else ())

    def _rebuild(self, owners: Container[str]) -> bool:
        """Make the router again; the services `owners` keep the routes that they have and declare."""
        before = self.router

        def owner_of(method: str, pattern: str) -> str | None:
            owner = before.owner(method, pattern)
            return owner if owner in owners else None

        declared = (each for one in self._known.values() for each in one.declared)
        ranks = {service: seniority for service, (seniority, _) in self._basis.items()}
        self.router = Router(declared, ranks, owner_of)
        return self.router != before

    def _forget_gone(self, live: Container[str]) -> None:
        """Forget the services without instances that never served, and those that are too many."""
        gone = [service for service in self._known if service not in live]
        services = routes = 0
        for service in sorted(gone, key=lambda service: (self._known[service].first_started, service)):
            one = self._known[service]
            one.leave()
            is_space = services < REMEMBERED_SERVICES and routes + one.size() <= REMEMBERED_ROUTES
            if one.has_served and one.declared and is_space:
                services, routes = services + 1, routes + one.size()
            else:
                del self._known[service]

    def __repr__(self) -> str:
        """Show the routes now."""
        return f"<RouteTable: {self.router!r}>"


def _is_parameter(segment: str) -> bool:
    return segment[:1] == "{" and _PARAMETER.fullmatch(segment) is not None
