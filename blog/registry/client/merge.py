"""Merge: one row of an instance from what several registries report about it. Pure.

A row is *reported* by a registry that is connected, or *cached* from one that is disconnected or not
complete yet.
"""

from collections.abc import Collection, Iterable, Iterator

from blog.core.instance import Instance, State
from blog.registry.messages import TableDelta, TableSnapshot

_RANKS = {State.STARTING: 0, State.SUSPECT: 1, State.READY: 2, State.DRAINING: 3}
"""Ready beats suspect: one registry hears the instance, the other does not. Draining is final."""


class TableSource:
    """The table of one registry: the rows that it reports now, and those that are cached from before."""

    def __init__(self) -> None:
        self.reported: dict[str, Instance] = {}
        self.cached: dict[str, Instance] = {}
        self.is_complete = False
        """Connected, and no instance is missing from what it reports."""

    def disconnected(self) -> set[str]:
        """Cache every row; return the ids whose rows may change."""
        self.is_complete = False
        self.cached |= self.reported
        self.reported = {}
        return set(self.cached)

    def apply_snapshot(self, snapshot: TableSnapshot) -> tuple[set[str], set[str]]:
        """Replace the table; return the ids whose rows may change, and those that are gone."""
        before = self.reported.keys() | self.cached.keys()
        now = {instance.id: instance for instance in snapshot.instances}
        if not snapshot.complete:
            self.cached |= self.reported
        self.reported, self.is_complete = now, snapshot.complete
        self.forget(one.id for one in snapshot.gone)
        self.cached = {id_: row for id_, row in self.cached.items() if self._needs_cached(id_)}
        changed = before | now.keys()
        return changed, changed - self.reported.keys() - self.cached.keys()

    def apply_delta(self, delta: TableDelta) -> tuple[set[str], set[str]]:
        """Apply changes; return the ids whose rows may change, and those that are gone."""
        gone = {one.id for one in delta.gone}
        self.forget(gone)
        for id_ in gone:
            self.reported.pop(id_, None)
        for instance in delta.put:
            self.reported[instance.id] = instance
            if not self._needs_cached(instance.id):
                self.cached.pop(instance.id, None)
        put = {instance.id for instance in delta.put}
        return gone | put, gone - put

    def forget(self, gone: Iterable[str]) -> None:
        """Drop the cached rows of instances that are gone."""
        for id_ in gone:
            self.cached.pop(id_, None)

    def row(self, id_: str) -> Instance | None:
        """Return the row of an instance, the reported one if there is one."""
        return self.reported.get(id_) or self.cached.get(id_)

    def _needs_cached(self, id_: str) -> bool:
        """Return whether the cached row says more than the reported one: none, or one that starts."""
        reported = self.reported.get(id_)
        return not self.is_complete if reported is None else reported.state is State.STARTING

    def __repr__(self) -> str:
        """Show how many rows are reported and cached."""
        words = f"{len(self.reported)} reported, {len(self.cached)} cached"
        return f"<TableSource{' (complete)' * self.is_complete}: {words}>"


def merged(instance_id: str, sources: Iterable[TableSource]) -> Instance | None:
    """Return the row of an instance; None if no source has it.

    Reported rows count before cached ones. An instance that is only cached, while another registry is
    complete and does not have it, is suspect: it gets traffic only when no ready one is left. A registry
    that was restarted reports instances as starting that it has not dialled yet: the cached row of the
    same address counts then.
    """
    known = tuple(sources)
    row = _row(instance_id, known)
    if row is None or len(known) == 1:
        return row
    # each registry has its own time for the instance: that of the first one counts for all
    times = [one.started_at for source in known if (one := source.row(instance_id)) is not None]
    earliest = min(times)
    return row if earliest == row.started_at else row.model_copy(update={"started_at": earliest})


def _row(instance_id: str, known: Collection[TableSource]) -> Instance | None:
    reported = _best(row for source in known if (row := source.reported.get(instance_id)))
    cached = _best(row for source in known if (row := source.cached.get(instance_id)))
    if reported is not None:
        was_dialled = cached is not None and cached.address == reported.address
        return cached if was_dialled and reported.state is State.STARTING else reported
    is_suspect = (
        cached is not None and cached.state is State.READY and any(one.is_complete for one in known)
    )
    return cached.model_copy(update={"state": State.SUSPECT}) if cached and is_suspect else cached


def _best(rows: Iterator[Instance]) -> Instance | None:
    return max(rows, key=lambda row: _RANKS.get(row.state, -1), default=None)
