"""Head cache: heads that were parsed before need not be parsed again. Pure.

A client that keeps its connection sends the same head again and again, and many clients differ in little
but a cookie. So the key of a head is its bytes without its `VolatileFields`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from blog.http.admission_cache import AdmissionCache
from blog.http.limits import FIELD_LIMIT


class VolatileFields:
    """Fields that were taken out of a head: their values differ from head to head.

    `fields` are names and values as received. `derived` is what the application made from them.
    """

    __slots__ = ("derived", "fields")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.fields = fields
        self.derived: object = None

    def __repr__(self) -> str:
        """Show the names: values may be secrets."""
        return f"<VolatileFields: {[name.decode() for name, _ in self.fields]}>"


NO_VOLATILE_FIELDS = VolatileFields(())


class CachedHead(Protocol):
    """What was parsed from a head."""

    fields: list[tuple[bytes, bytes, bytes]]
    options: frozenset[bytes]
    is_chunked: bool


R = TypeVar("R", bound=CachedHead)


class HeadCache(Generic[R]):
    """Heads as `parse` parses them. `volatile` are names of fields, in each common spelling."""

    def __init__(self, parse: Callable[[bytes], R], volatile: Sequence[bytes]) -> None:
        self._parse = parse
        self._cache: AdmissionCache[R] = AdmissionCache()
        self._keys = frozenset(name.lower() for name in volatile)
        # only what is unambiguous: one blank, then text that neither begins nor ends with one
        self._volatile = re.compile(
            rb"\r\n(%b): ([!-~](?:[ -~]*[!-~])?)(?=\r\n)" % b"|".join(map(re.escape, volatile))
        )

    def find(self, raw: bytes) -> tuple[R, VolatileFields]:
        """Return the parsed head and its volatile fields. Raises what `parse` raises."""
        parts = self._volatile.split(raw)
        bare = raw if len(parts) == 1 else b"".join(parts[::3])
        found = self._cache.get(bare) or self._cache.promote(bare)
        if found is None:
            found = self._parse(bare)
            if not self._is_complete_without(found):
                return self._parse(raw), NO_VOLATILE_FIELDS
            if self._cache.admit(bare):
                self._cache.put(bare, found)
        if len(parts) == 1:
            return found, NO_VOLATILE_FIELDS
        return found, VolatileFields(list(zip(parts[1::3], parts[2::3], strict=True)))

    def _is_complete_without(self, found: R) -> bool:
        """Return whether volatile fields mean the same beside this head as in it, however spelt."""
        return not (
            found.is_chunked
            or len(found.fields) + len(self._keys) > FIELD_LIMIT
            or not self._keys.isdisjoint(found.options)
            or any(key in self._keys for key, _, _ in found.fields)
        )

    def __repr__(self) -> str:
        """Show how many are cached."""
        return f"<HeadCache: {self._cache!r}>"
