"""Search: what a reader types, as a query of SQLite's FTS5. Nothing of it is ever syntax."""

import sqlite3

from blog.core.errors import SettingsError


def must_have_fts5(db: sqlite3.Connection) -> None:
    """Raise SettingsError where this Python's SQLite was built without full-text search."""
    if db.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is None:
        raise SettingsError(
            f"The SQLite of this Python ({sqlite3.sqlite_version}) has no FTS5, which search needs:"
            " use a Python whose SQLite is built with SQLITE_ENABLE_FTS5, as most are."
        )


def as_match(words: str) -> str:
    """Ask for texts that have all of `words`, the last of which may be unfinished; for no word: none.

    Each word becomes a quoted string, the only thing that means itself (FTS5, strings).
    """
    # a NUL would end the query in the middle of a string
    quoted = ['"' + word.replace('"', '""') + '"' for word in words.replace("\0", " ").split()]
    return " ".join(quoted or ['""']) + "*"
