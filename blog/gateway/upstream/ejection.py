"""Ejection: which instances to leave out for a while, judged by how they respond. Pure.

Five failures in a row → ejected for 5 s, 10 s, 15 s …, at most half of a service, never the last one.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

CONSECUTIVE_FAILURES = 5
EJECTION_TIME = 5.0
"""Seconds, times how often it happened lately."""
_NONE: AbstractSet[str] = frozenset()


@dataclass(slots=True)
class _FailureRecord:
    failures: int = 0
    ejections: int = 0
    until: float = 0.0


class Ejection:
    """Counts failures in a row per instance. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _FailureRecord] = {}
        self._last_return = 0.0

    def record_success(self, id_: str) -> None:
        """Count a response that is not a failure of the instance."""
        if record := self._records.get(id_):
            record.failures = 0

    def record_failure(self, id_: str, peers: Collection[str], now: float) -> float | None:
        """Count a failed connection or a 5xx; return for how many seconds `id_` is ejected, if it is.

        `peers` are the ids of its service that could serve, `id_` among them.
        """
        record = self._records.setdefault(id_, _FailureRecord())
        record.failures += 1
        ejected = self.ejected(now)
        if record.failures < CONSECUTIVE_FAILURES or id_ in ejected:
            return None
        if len(ejected & set(peers)) + 1 > len(peers) // 2:
            return None
        self._eject(record, now)
        return record.until - now

    def ejected(self, now: float) -> AbstractSet[str]:
        """Return the ids that are ejected now."""
        if now >= self._last_return:
            return _NONE
        return {id_ for id_, record in self._records.items() if record.until > now}

    def retain(self, ids: Collection[str]) -> None:
        """Forget instances that are not among `ids`: they are gone for good."""
        for id_ in self._records.keys() - set(ids):
            del self._records[id_]

    def _eject(self, record: _FailureRecord, now: float) -> None:
        """Longer each time, unless it went well for as long as it was ejected before."""
        was_good = now - record.until > EJECTION_TIME * record.ejections
        record.ejections = 1 if was_good else record.ejections + 1
        record.failures = 0
        record.until = now + EJECTION_TIME * record.ejections
        self._last_return = max(self._last_return, record.until)

    def __repr__(self) -> str:
        """Show the failures in a row and until when each is ejected."""
        shown = (f"{id_} {one.failures} until {one.until:g}" for id_, one in self._records.items())
        return f"<Ejection: {', '.join(shown) or 'none'}>"
