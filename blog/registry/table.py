"""Table: what followers are told. Pure: every change gets a version; what is new since one can be asked.

Changes of the same instance since then come as one, the last.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from blog.core.instance import Departure, Instance
from blog.registry.membership import Change
from blog.registry.messages import EVERYTHING, Delta, Gone, Snapshot

_REMEMBERED = 4096  # departures; who is further behind gets the whole table


class _Departed(NamedTuple):
    version: int
    service: str
    why: Departure


def follows(follow: frozenset[str], service: str) -> bool:
    """Tell whether somebody who follows `follow` hears of `service`."""
    return service in follow or EVERYTHING in follow


class Table:
    """Instances by id, with the version of their last change."""

    def __init__(self, epoch: str, remembered: int = _REMEMBERED) -> None:
        self.epoch = epoch
        self.version = 0
        self._remembered = remembered
        self._forgotten = 0  # the version of the last departure that is no longer known
        self._present: dict[str, tuple[int, Instance]] = {}
        self._departed: OrderedDict[str, _Departed] = OrderedDict()

    def apply(self, changes: Iterable[Change]) -> None:
        """Write `changes` down, each as a version of its own."""
        for instance, why in changes:
            self.version += 1
            self._present.pop(instance.id, None)
            self._departed.pop(instance.id, None)
            if why is None:
                self._present[instance.id] = (self.version, instance)
            else:
                self._departed[instance.id] = _Departed(self.version, instance.service, why)
                self._forget()

    def snapshot(self, follow: frozenset[str]) -> Snapshot:
        """Return everybody who is there, of the services in `follow`."""
        return Snapshot(epoch=self.epoch, version=self.version, instances=self._since(0, follow))

    def delta(self, since: int, follow: frozenset[str]) -> Delta | None:
        """Return what changed after version `since`; None when that is too long ago to know."""
        if since < self._forgotten:
            return None
        gone = tuple(
            Gone(id=id_, why=departed.why)
            for id_, departed in self._departed.items()
            if departed.version > since and follows(follow, departed.service)
        )
        return Delta(version=self.version, put=self._since(since, follow), gone=gone)

    def _since(self, version: int, follow: frozenset[str]) -> tuple[Instance, ...]:
        return tuple(
            instance
            for changed, instance in self._present.values()
            if changed > version and follows(follow, instance.service)
        )

    def _forget(self) -> None:
        if len(self._departed) > self._remembered:
            _, oldest = self._departed.popitem(last=False)
            self._forgotten = oldest.version

    def __repr__(self) -> str:
        """Show the version and who is there."""
        return f"<Table at {self.version}: {', '.join(self._present) or 'nobody'}>"
