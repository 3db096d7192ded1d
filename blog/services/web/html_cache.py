"""Cache of the HTML of texts, bounded in bytes: the least recently used is dropped first. Pure."""

import sys
from collections import OrderedDict

from markupsafe import Markup

_ENTRY = 256  # bytes of the dictionary and its links, for one text


class HtmlCache:
    """Texts and their HTML; both count, as the bytes that they take in memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Markup] = OrderedDict()
        self.bytes = 0

    def get(self, text: str) -> Markup | None:
        """Return the HTML of a text, if it is cached."""
        found = self._entries.get(text)
        if found is not None:
            self._entries.move_to_end(text)
        return found

    def put(self, text: str, html: Markup) -> None:
        """Cache the HTML of a text; the least recently used ones make room for it."""
        self._drop(text)
        self._entries[text] = html
        self.bytes += _size(text, html)
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, text: str) -> None:
        html = self._entries.pop(text, None)
        if html is not None:
            self.bytes -= _size(text, html)

    def __repr__(self) -> str:
        """Show how much is cached."""
        return f"<HtmlCache: {len(self._entries)} texts in {self.bytes} bytes>"


def _size(text: str, html: Markup) -> int:
    return sys.getsizeof(text) + sys.getsizeof(html) + _ENTRY
