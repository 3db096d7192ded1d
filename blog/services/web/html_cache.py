"""HTML that was made of texts, as much as fits in so many bytes: the least used goes first. Pure."""

import sys
from collections import OrderedDict

from markupsafe import Markup

_ENTRY = 256  # bytes of the dictionary and its links, for one text


class HtmlCache:
    """Texts and their HTML; both count, as the bytes that they take in memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Markup] = OrderedDict()
        self.bytes = 0

    def find(self, text: str) -> Markup | None:
        """Return the HTML of a text, if it is kept."""
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
        return found

    def keep(self, text: str, html: Markup) -> None:
        """Keep the HTML of a text; what was used least makes room for it."""
        self._drop(text)
        self._kept[text] = html
        self.bytes += _size(text, html)
        while self.bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, text: str) -> None:
        html = self._kept.pop(text, None)
        if html is not None:
            self.bytes -= _size(text, html)

    def __repr__(self) -> str:
        """Show how much is kept."""
        return f"<HtmlCache: {len(self._kept)} texts in {self.bytes} bytes>"


def _size(text: str, html: Markup) -> int:
    return sys.getsizeof(text) + sys.getsizeof(html) + _ENTRY
