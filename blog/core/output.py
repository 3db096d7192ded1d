"""Output: where our commands write what a terminal may show. Nothing else in `blog` prints.

Text of others (names, reasons, paths, log lines) is in almost every line, so that all of it is escaped
here, where it is written, and not where it is put together.
"""

import json
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

from blog.core.printable import escaped, escaped_line


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line; line breaks in it are shown, so that no text can pretend to be another line."""
    _write(f"{escaped_line(text)}\n", err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print text that has line breaks of its own."""
    _write(f"{escaped(text)}\n", err=err)


def say_json(value: object, indent: int | None = None) -> None:
    """Print a value as JSON, which has the same data however odd its texts are."""
    _write(f"{escaped(json.dumps(value, indent=indent))}\n", err=False)


def pass_on(text: str) -> None:
    """Print a part of a stream of lines as it is, escaped. It may begin or end within a line."""
    _write(escaped(text), err=False)


def write_escaped_tracebacks() -> None:
    """From now on write the traceback of an error that ends this process escaped: it quotes others."""
    sys.excepthook = _show_traceback


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _write(escaped("".join(traceback.format_exception(kind, error, trace))), err=True)


def _write(text: str, *, err: bool) -> None:
    file: TextIO | Any = sys.stderr if err else sys.stdout
    file.write(text)
    file.flush()
