"""Declared: the settings that services have, read from their files without importing any.

What a file does when it is imported (it may wait, print, end the process) concerns only those who run it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from blog.core.files.regular_file import read_regular_file
from blog.runtime.catalog import folders

_BASE = "ServiceSettings"
_MAX_SIZE = 1 << 20
"""Bytes of a file that is read; one that has more is not written by people."""


def setting_names() -> set[str]:
    """Return the fields of all classes of settings, as far as the files can be read."""
    return {name for folder in folders() for name in fields_in(folder)}


def fields_in(folder: Path) -> set[str]:
    """Return those of the files in one folder."""
    classes = [item for path in folder.rglob("*.py") for item in _classes(path)]
    bases = {_BASE}
    while more := {item.name for item in classes if bases & _bases(item)} - bases:
        bases |= more
    return {
        part.target.id
        for item in classes
        if item.name in bases
        for part in item.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    """Find the classes in a file; none in one that cannot be read."""
    try:
        source = read_regular_file(str(path), _MAX_SIZE + 1)
        tree = ast.parse(source if len(source) <= _MAX_SIZE else b"")
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node


def _bases(item: ast.ClassDef) -> set[str]:
    names = (getattr(base, "id", getattr(base, "attr", None)) for base in item.bases)
    return {name for name in names if name is not None}
