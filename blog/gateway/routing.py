"""Method and path → service, compiled from what instances declare. Pure.

The most specific pattern wins: a literal segment before a `{parameter}`, from left to right. Two
services with the same route are a conflict that can be seen; the first one keeps it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from blog.core.instance import Instance

INNER = frozenset({"events", "readyz", "healthz", "metrics", "reactions", "v1", "snapshot"})
"""First segments that are never public, whatever an instance declares."""


class Match(NamedTuple):
    """Which service answers, by which of its patterns."""

    service: str
    pattern: str


class Conflict(NamedTuple):
    """A route that `loser` declares too, and `keeper` has."""

    method: str
    pattern: str
    keeper: str
    loser: str


@dataclass(slots=True)
class _Node:
    """One segment of the tree of patterns."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    methods: dict[str, Match] = field(default_factory=dict)


class Router:
    """Routes compiled from `instances`; made anew when what they declare changes."""

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.conflicts: list[Conflict] = []
        self._root = _Node()
        for instance in sorted(instances, key=lambda item: (item.started_at, item.id)):
            for route in instance.routes:
                self._add(route.method, route.pattern, instance.service)

    def match(self, method: str, path: str) -> Match | None:
        """Find who answers. HEAD goes where GET goes."""
        wanted = (method, "GET") if method == "HEAD" else (method,)
        for node in _nodes(self._root, _segments(path)):
            found = next((node.methods[name] for name in wanted if name in node.methods), None)
            if found is not None:
                return found
        return None

    def allowed(self, path: str) -> list[str]:
        """List the methods that the path knows; none for an unknown path."""
        methods = {name for node in _nodes(self._root, _segments(path)) for name in node.methods}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def routes(self) -> list[tuple[str, Match]]:
        """List every route: method and who answers."""
        return [(method, match) for node in _walk(self._root) for method, match in node.methods.items()]

    def _add(self, method: str, pattern: str, service: str) -> None:
        segments = _segments(pattern)
        if segments[0] in INNER:
            return
        node = self._root
        for segment in segments:
            node = _descend(node, segment)
        known = node.methods.setdefault(method, Match(service, pattern))
        if known.service != service:
            conflict = Conflict(method, pattern, known.service, service)
            if conflict not in self.conflicts:
                self.conflicts.append(conflict)

    def __repr__(self) -> str:
        """Show the routes."""
        return f"<Router {', '.join(f'{m} {f.pattern}→{f.service}' for m, f in self.routes())}>"


def _segments(path: str) -> list[str]:
    return path.lstrip("/").split("/")


def _descend(node: _Node, segment: str) -> _Node:
    if segment.startswith("{") and segment.endswith("}"):
        node.parameter = node.parameter or _Node()
        return node.parameter
    return node.literals.setdefault(segment, _Node())


def _nodes(node: _Node, segments: list[str]) -> Iterator[_Node]:
    """Yield the ends of all patterns that fit, the most specific one first."""
    if not segments:
        yield node
        return
    head, rest = segments[0], segments[1:]
    if head in node.literals:
        yield from _nodes(node.literals[head], rest)
    if node.parameter is not None and head:
        yield from _nodes(node.parameter, rest)


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for child in [*node.literals.values(), *([node.parameter] if node.parameter else [])]:
        yield from _walk(child)
