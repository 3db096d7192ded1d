"""Printable: text of others in a line that a terminal shows and does not obey. Imports nothing."""


def printable(text: str, most: int | None = None) -> str:
    """Return `text` in one line, `most` characters of it."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(shown.split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"
