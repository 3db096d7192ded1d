"""Merge: one row of an instance out of what several registries say of it. Pure.

A row is *told* by a registry that is connected, or *kept* from one that is not, or not complete yet.
"""

from collections.abc import Iterable, Iterator

from blog.core.instance import Instance, State
from blog.registry.messages import TableDelta, TableSnapshot

_RANKS = {State.STARTING: 0, State.SUSPECT: 1, State.READY: 2, State.DRAINING: 3}
"""Ready beats suspect: one registry hears it, the other does not. Draining is its own word, and final."""


class TableSource:
    """What one registry says: the rows that it tells now, and those that are kept from before."""

    def __init__(self) -> None:
        self.told: dict[str, Instance] = {}
        self.kept: dict[str, Instance] = {}
        self.is_whole = False
        """Connected, and nobody is missing from what it tells."""

    def cut_off(self) -> set[str]:
        """Keep everything as it is; return whose rows are concerned."""
        self.is_whole = False
        self.kept |= self.told
        self.told = {}
        return set(self.kept)

    def snapshot(self, said: TableSnapshot) -> tuple[set[str], set[str]]:
        """Take over a whole table; return whose rows are concerned, and who is gone by that."""
        before = self.told.keys() | self.kept.keys()
        now = {instance.id: instance for instance in said.instances}
        if not said.complete:
            self.kept |= self.told
        self.told, self.is_whole = now, said.complete
        self.kept = {id_: row for id_, row in self.kept.items() if self._has_use_of(id_)}
        concerned = before | now.keys()
        return concerned, concerned - self.told.keys() - self.kept.keys()

    def delta(self, said: TableDelta) -> tuple[set[str], set[str]]:
        """Take over what changed; return whose rows are concerned, and who is gone by that."""
        gone = {one.id for one in said.gone}
        self.forget(gone)
        for id_ in gone:
            self.told.pop(id_, None)
        for instance in said.put:
            self.told[instance.id] = instance
            if not self._has_use_of(instance.id):
                self.kept.pop(instance.id, None)
        put = {instance.id for instance in said.put}
        return gone | put, gone - put

    def forget(self, gone: Iterable[str]) -> None:
        """Keep no rows of who is gone."""
        for id_ in gone:
            self.kept.pop(id_, None)

    def _has_use_of(self, kept_id: str) -> bool:
        """Tell whether a kept row says more than what is told: nothing, or that it starts."""
        told = self.told.get(kept_id)
        return not self.is_whole if told is None else told.state is State.STARTING

    def __repr__(self) -> str:
        """Show how much is told and kept."""
        return f"<TableSource{' (whole)' * self.is_whole}: {len(self.told)} told, {len(self.kept)} kept>"


def merged(instance_id: str, sources: Iterable[TableSource]) -> Instance | None:
    """Return the row of an instance; None: nobody has it.

    What is told counts before what is kept. What is only kept, while another registry is whole and
    does not have it, is in doubt: it gets traffic only when nobody else can answer. A registry that was
    restarted tells that somebody starts whom it has not dialled yet: what is kept of that address holds.
    """
    known = tuple(sources)
    told = _best(row for source in known if (row := source.told.get(instance_id)))
    kept = _best(row for source in known if (row := source.kept.get(instance_id)))
    if told is not None:
        was_dialled = kept is not None and kept.address == told.address
        return kept if was_dialled and told.state is State.STARTING else told
    in_doubt = kept is not None and kept.state is State.READY and any(one.is_whole for one in known)
    return kept.model_copy(update={"state": State.SUSPECT}) if kept and in_doubt else kept


def _best(rows: Iterator[Instance]) -> Instance | None:
    return max(rows, key=lambda row: _RANKS.get(row.state, -1), default=None)
