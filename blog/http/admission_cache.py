"""Admission cache: what was made from bytes that arrive again and again. Pure; bounded."""

from typing import TypeVar

from blog.http.limits import CACHE_KEY_LIMIT, CACHE_LIMIT

V = TypeVar("V")


class AdmissionCache(dict[bytes, V]):
    """Values by the bytes they were made from: look them up with `get`, then with `promote`.

    It holds two generations of at most `limit` entries each: the older one is dropped as a whole, except
    for what was used since.
    """

    __slots__ = ("_limit", "_older", "_seen")

    def __init__(self, limit: int = CACHE_LIMIT) -> None:
        self._limit = limit
        self._older: dict[bytes, V] = {}
        self._seen: set[int] = set()

    def promote(self, key: bytes) -> V | None:
        """Return what `get` did not find, if the older generation has it; it is in the newer one then."""
        found = self._older.pop(key, None)
        if found is not None:
            self.put(key, found)
        return found

    def admit(self, key: bytes) -> bool:
        """Return whether a value for `key` may be put: the key is short, and was seen before.

        A client that sends something new each time neither fills a cache nor evicts what others use.
        """
        seen = hash(key)
        if seen in self._seen:
            return len(key) <= CACHE_KEY_LIMIT
        if len(self._seen) >= self._limit:
            self._seen.clear()
        self._seen.add(seen)
        return False

    def put(self, key: bytes, value: V) -> None:
        """Store a value."""
        if len(self) >= self._limit:
            self._older = dict(self)
            self.clear()
        self[key] = value

    def __repr__(self) -> str:
        """Show the size of both generations."""
        return f"<AdmissionCache: {len(self)} + {len(self._older)} of {self._limit}>"
