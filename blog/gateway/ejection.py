"""Passive outlier ejection: who fails again and again is left out for a while. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

FAILURES = 5
"""Failures in a row (no connection, or 5xx) that take an instance out."""
TIME_OUT = 5.0
"""Seconds out: this times how often it was out already."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    times: int = 0
    until: float = float("-inf")


class Ejection:
    """Remembers how instances did. At most half of a service is out, and never the last one."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def succeeded(self, instance_id: str) -> None:
        """Note an answer: a row of failures ends. One that kept answering is as good as new."""
        self._records.pop(instance_id, None) if not self._is_marked(instance_id) else None
        record = self._records.get(instance_id)
        if record is not None:
            record.failures = 0

    def failed(self, instance_id: str, now: float) -> bool:
        """Note a failure; tell whether it takes the instance out from `now`."""
        record = self._records.setdefault(instance_id, _Record())
        record.failures += 1
        if record.failures < FAILURES:
            return False
        record.failures = 0
        record.times += 1
        record.until = now + TIME_OUT * record.times
        return True

    def out(self, serving: Collection[str], now: float) -> frozenset[str]:
        """Return whom of `serving` to leave out now: at most half, those that come back last."""
        ejected = [id_ for id_ in serving if id_ in self._records and self._records[id_].until > now]
        if not ejected:
            return frozenset()
        ejected.sort(key=lambda id_: self._records[id_].until, reverse=True)
        return frozenset(ejected[: len(serving) // 2])

    def forget(self, alive: Collection[str]) -> None:
        """Keep only what concerns `alive`."""
        for instance_id in [id_ for id_ in self._records if id_ not in alive]:
            del self._records[instance_id]

    def _is_marked(self, instance_id: str) -> bool:
        record = self._records.get(instance_id)
        return record is not None and record.times > 0

    def __repr__(self) -> str:
        """Show who failed how often."""
        rows = (f"{id_}: {record.failures} failures" for id_, record in self._records.items())
        return f"<Ejection {', '.join(rows) or 'nobody'}>"
