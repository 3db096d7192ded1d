"""Declarations: which routes each service declares, and which service comes first. Pure.

A thousand instances that declare the same count once. Nothing else of a row is kept here.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from blog.core.instance import Instance, Route


class DeclaredRoute(NamedTuple):
    """A `Route` as plain values, which can be compared a thousand times as fast as models."""

    method: str
    pattern: str
    body_limit: int | None
    answer_timeout: float | None
    shows_refusals: bool


class Declaration(NamedTuple):
    """What instances of a service declare alike; `started_at` and `id` are those of the first of them."""

    service: str
    started_at: datetime
    id: str
    routes: tuple[DeclaredRoute, ...]


class Seniority(NamedTuple):
    """Which service comes first: live ones before those that are only remembered, then the older."""

    is_gone: bool
    first_started: datetime
    service: str


class DeclaringService:
    """What a service declares, or did when it was last there."""

    def __init__(self, first_started: datetime) -> None:
        self.first_started = first_started
        self.has_served = False
        self.declared: tuple[Declaration, ...] = ()
        self._rows: dict[str, tuple[tuple[Route, ...], tuple[DeclaredRoute, ...]]] = {}
        """By id: the routes of the row, and the same ones as in `declared`."""

    def update(self, rows: list[Instance]) -> None:
        """Apply the instances known now. Routes are read once per row, not once per change."""
        before, self._rows = self._rows, {}
        known = {one.routes: one.routes for one in self.declared}
        first: dict[int, Declaration] = {}
        for row in sorted(rows, key=lambda row: (row.started_at, row.id)):
            read, declared = before.get(row.id, (None, ()))
            if read is not row.routes:
                declared = _plain(row.routes)
                declared = known.setdefault(declared, declared)
            self._rows[row.id] = row.routes, declared
            if declared:
                first.setdefault(id(declared), Declaration(row.service, row.started_at, row.id, declared))
            self.has_served = self.has_served or row.is_serving()
        self.first_started = min(self.first_started, *(row.started_at for row in rows))
        self.declared = tuple(first.values())

    def leave(self) -> None:
        """Keep only what is needed of a service without instances."""
        self._rows = {}

    def size(self) -> int:
        """Return how many routes are declared."""
        return sum(len(one.routes) for one in self.declared)


def _plain(routes: tuple[Route, ...]) -> tuple[DeclaredRoute, ...]:
    return tuple(
        DeclaredRoute(one.method, one.pattern, one.body_limit, one.answer_timeout, one.shows_refusals)
        for one in routes
    )


def seniority_of(declared: Iterable[Instance | Declaration]) -> dict[str, Seniority]:
    """Rank services by when the first of each was started, all of them as living ones."""
    first: dict[str, datetime] = {}
    for one in declared:
        first[one.service] = min(first.get(one.service, one.started_at), one.started_at)
    return {service: Seniority(False, started, service) for service, started in first.items()}
