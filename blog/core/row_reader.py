"""Rows of a list that others wrote: read one by one, so that one that cannot be read costs only itself.

A joiner may send anything, and a newer version what this one does not know.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from blog.core.printable import printable

T = TypeVar("T")
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_SHOWN, _SHOWN_NAME = 200, 80
MAX_LINES = 100
"""Rows that are named of those that cannot be read; the others are counted in one line more."""


class ReadRows(NamedTuple, Generic[T]):
    """The rows that can be read, and a line for each other one: which it is, and why.

    More than `MAX_LINES` of those are not named, but counted in the last line.
    """

    rows: list[T]
    passed_over: list[str]


def read_rows(rows: object, parse: Callable[[Any], T]) -> ReadRows[T]:
    """Read each of `rows` with `parse`; whatever it raises, the others are read all the same."""
    found: ReadRows[T] = ReadRows([], [])
    not_named = 0
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        return found._replace(passed_over=["it is not a list"])
    for number, row in enumerate(rows, 1):
        try:
            found.rows.append(parse(row))
        except _UNREADABLE as error:
            if len(found.passed_over) < MAX_LINES:
                found.passed_over.append(f"{_name_of(row) or f'row {number}'}: {reason(error)}")
            else:
                not_named += 1
    if not_named:
        found.passed_over.append(f"and {not_named} more")
    return found


def fields(row: Any) -> Mapping[str, Any]:
    """Return a row that has named fields. Raises TypeError for another one."""
    if not isinstance(row, Mapping):
        raise TypeError("it has no fields")
    return row


def reason(error: Exception) -> str:
    """Return in one short line what is wrong."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", _SHOWN)
    if isinstance(error, KeyError):
        return printable(f"{error} is missing", _SHOWN)
    return printable(str(error), _SHOWN) or type(error).__name__


def _name_of(row: Any) -> str:
    """Return what a row calls itself; "" if that is nothing."""
    for key in ("id", "name") if isinstance(row, Mapping) else ():
        if isinstance(name := row.get(key), str) and name:
            return printable(name, _SHOWN_NAME)
    return ""
