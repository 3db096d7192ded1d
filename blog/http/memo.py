"""Memo: what was made of bytes that come again and again. Pure; bounded."""

from typing import TypeVar

from blog.http.limits import MEMO_LIMIT, MEMO_SIZE

V = TypeVar("V")


class AdmissionCache(dict[bytes, V]):
    """Values by the bytes they were made of: look them up with `get`, then with `recall`.

    Holds two generations of at most `limit`: the older one goes at once, but for what was used since.
    """

    __slots__ = ("_limit", "_older", "_sighted")

    def __init__(self, limit: int = MEMO_LIMIT) -> None:
        self._limit = limit
        self._older: dict[bytes, V] = {}
        self._sighted: set[int] = set()

    def recall(self, said: bytes) -> V | None:
        """Return what `get` did not find, if it was used a while ago."""
        found = self._older.pop(said, None)
        if found is not None:
            self.keep(said, found)
        return found

    def sight(self, said: bytes) -> bool:
        """Note that these bytes came; tell whether they are worth keeping: they came before.

        Whoever sends something new each time neither fills a memo nor drives out what others use.
        """
        sight = hash(said)
        if sight in self._sighted:
            return len(said) <= MEMO_SIZE
        if len(self._sighted) >= self._limit:
            self._sighted.clear()
        self._sighted.add(sight)
        return False

    def keep(self, said: bytes, value: V) -> None:
        """Remember a value."""
        if len(self) >= self._limit:
            self._older = dict(self)
            self.clear()
        self[said] = value

    def __repr__(self) -> str:
        """Show how much is remembered."""
        return f"<AdmissionCache: {len(self)} + {len(self._older)} of {self._limit}>"
