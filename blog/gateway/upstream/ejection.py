"""Ejection: which instances to leave out for a while, judged by how they answer. Pure.

Five failures in a row → out for 5 s, 10 s, 15 s …, at most half of a service, never the last one.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

FAILURES = 5
_NOBODY: AbstractSet[str] = frozenset()
OUT_FOR = 5.0
"""Seconds, times how often it happened lately."""


@dataclass(slots=True)
class _FailureRecord:
    failures: int = 0
    times: int = 0
    until: float = 0.0


class Ejection:
    """Counts failures in a row per instance. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _FailureRecord] = {}
        self._last_return = 0.0

    def succeeded(self, id_: str) -> None:
        """Note an answer that is none of the instance's failures."""
        if record := self._records.get(id_):
            record.failures = 0

    def failed(self, id_: str, peers: Collection[str], now: float) -> float | None:
        """Note a failed connection or a 5xx; return for how long this put `id_` out, if it did.

        `peers` are the ids of its service that could serve, `id_` among them.
        """
        record = self._records.setdefault(id_, _FailureRecord())
        record.failures += 1
        out = self.out(now)
        if record.failures < FAILURES or id_ in out:
            return None
        if len(out & set(peers)) + 1 > len(peers) // 2:
            return None
        self._put_out(record, now)
        return record.until - now

    def out(self, now: float) -> AbstractSet[str]:
        """Return who is out now."""
        if now >= self._last_return:
            return _NOBODY
        return {id_ for id_, record in self._records.items() if record.until > now}

    def keep(self, ids: Collection[str]) -> None:
        """Forget whoever is not among `ids`: they are gone for good."""
        for id_ in self._records.keys() - set(ids):
            del self._records[id_]

    def _put_out(self, record: _FailureRecord, now: float) -> None:
        """Longer each time, unless it went well for as long as it was out before."""
        was_good = now - record.until > OUT_FOR * record.times
        record.times = 1 if was_good else record.times + 1
        record.failures = 0
        record.until = now + OUT_FOR * record.times
        self._last_return = max(self._last_return, record.until)

    def __repr__(self) -> str:
        """Show the failures in a row and until when each is out."""
        shown = (f"{id_} {one.failures} until {one.until:g}" for id_, one in self._records.items())
        return f"<Ejection: {', '.join(shown) or 'nobody'}>"
