"""Known: heads that came before need not be read again. Pure.

Who keeps a connection sends the same head again and again, and many clients differ in little but a
cookie. So a head is known by its bytes without the fields that are `VolatileFields`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from blog.http.limits import FIELD_LIMIT
from blog.http.memo import AdmissionCache


class VolatileFields:
    """Fields that were taken out of a head: their values differ from head to head.

    `fields` are names and values as they came. `derived` is what the application made of them.
    """

    __slots__ = ("derived", "fields")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.fields = fields
        self.derived: object = None

    def __repr__(self) -> str:
        """Show the names: values may be secrets."""
        return f"<VolatileFields: {[name.decode() for name, _ in self.fields]}>"


NOTHING_LOOSE = VolatileFields(())


class CachedHead(Protocol):
    """What was read of a head."""

    fields: list[tuple[bytes, bytes, bytes]]
    options: frozenset[bytes]
    is_chunked: bool


R = TypeVar("R", bound=CachedHead)


class HeadCache(Generic[R]):
    """Heads as `read` reads them. `loose` are names of fields, in each spelling that is common."""

    def __init__(self, read: Callable[[bytes], R], loose: Sequence[bytes]) -> None:
        self._read = read
        self._known: AdmissionCache[R] = AdmissionCache()
        self._keys = frozenset(name.lower() for name in loose)
        # only what is beyond doubt: one blank, then text that neither begins nor ends with one
        self._loose = re.compile(
            rb"\r\n(%b): ([!-~](?:[ -~]*[!-~])?)(?=\r\n)" % b"|".join(map(re.escape, loose))
        )

    def find(self, raw: bytes) -> tuple[R, VolatileFields]:
        """Return what a head says, and what it says beside that. Raises what `read` raises."""
        parts = self._loose.split(raw)
        bare = raw if len(parts) == 1 else b"".join(parts[::3])
        found = self._known.get(bare) or self._known.recall(bare)
        if found is None:
            found = self._read(bare)
            if not self._is_whole_without(found):
                return self._read(raw), NOTHING_LOOSE
            if self._known.sight(bare):
                self._known.keep(bare, found)
        if len(parts) == 1:
            return found, NOTHING_LOOSE
        return found, VolatileFields(list(zip(parts[1::3], parts[2::3], strict=True)))

    def _is_whole_without(self, found: R) -> bool:
        """Tell whether loose fields mean the same beside this as in it, however else they are spelt."""
        return not (
            found.is_chunked
            or len(found.fields) + len(self._keys) > FIELD_LIMIT
            or not self._keys.isdisjoint(found.options)
            or any(key in self._keys for key, _, _ in found.fields)
        )

    def __repr__(self) -> str:
        """Show how many are known."""
        return f"<HeadCache: {self._known!r}>"
