r"""Printable: text of others as a terminal shows it and does not obey it. Imports nothing of ours.

Every character that a terminal obeys, or that changes how the text around it is read, is shown as its
escape in JSON: `\u001b`. In the text of a JSON document that is the same data, so that one rule is right
for what people and for what programs read. Only a summary, which is cut anyway, leaves it out.
"""

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0, DEL and C1, without tab and line feed
_INVISIBLE = (
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
"""Unicode's line separators and format characters, those of bidirectional text among them.

Not the joiners U+200C and U+200D, which emoji and several scripts need, nor format characters that are
seen (the Arabic number signs).
"""
_SURROGATES = "\ud800-\udfff"  # bytes that are not UTF-8, as Python reads them
_UNSAFE = re.compile(f"[{_CONTROLS}{_INVISIBLE}{_SURROGATES}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def escaped(text: str) -> str:
    """Return `text` with every unsafe character as its escape; its line breaks and tabs stay."""
    # nothing that is unsafe is printable, and this is faster than a search
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def escaped_line(text: str) -> str:
    r"""Return `text` in one line: its line breaks are shown as `\n`."""
    return escaped(text).replace("\n", "\\n")


def printable(text: str, most: int | None = None) -> str:
    """Return a summary of `text`: one line, `most` characters of it, a space for all that is not seen."""
    line = " ".join(_UNSAFE.sub(" ", text).split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def _escape(match: re.Match[str]) -> str:
    """Return the escape of a character (RFC 8259 §7): beyond U+FFFF a pair of surrogates."""
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
