"""Logs are facts: `event` is `noun.past`, values are keys, nothing secret, no bodies.

Values are what others sent, and lines end in a terminal: what it would obey is escaped.
"""

import logging
import sys
import traceback
from contextlib import suppress
from typing import TextIO, cast

import structlog

from blog.core.output import write_escaped_tracebacks
from blog.core.printable import escaped, escaped_line


class LogOutput:
    """Where lines are written. One that cannot be written (a full disk) is lost, without an error."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write a line, if possible."""
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(OSError):
            self._file.flush()


def configure(level: str = "info", log_format: str = "auto", **bound: str) -> None:
    """Set up structlog for this process: JSON lines on stdout, or coloured text on a terminal.

    `bound` is on every line, for instance `service="posts"`.
    """
    write_escaped_tracebacks()
    _escape_other_loggers()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *(_json_lines() if is_json(log_format) else _console_lines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", LogOutput(sys.stdout))),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(**bound)


def is_json(log_format: str) -> bool:
    """Return whether lines are JSON with this setting: `auto` is JSON unless stdout is a terminal."""
    return log_format == "json" or (log_format == "auto" and not sys.stdout.isatty())


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger; it uses the set-up of `configure` at the time of each line."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


class EscapingFormatter(logging.Formatter):
    """Formats the few lines of libraries, which log with the standard library."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a line, maybe with a traceback."""
        return escaped(super().format(record))


def _escape_other_loggers() -> None:
    """Escape what libraries log, which goes to stderr as it does without a set-up."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapingFormatter())


def _json_lines() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.format_exc_info,
        # texts as people read them; escaped one by one, not all that is not ASCII
        structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False),
        lambda _logger, _method, line: escaped(cast("str", line)),
    ]


def _console_lines() -> list[structlog.typing.Processor]:
    """Return what makes lines for people; the only colours are ours, and only at a terminal."""
    renderer = structlog.dev.ConsoleRenderer(
        pad_event_to=0, colors=sys.stdout.isatty(), exception_formatter=_write_traceback
    )
    return [_escape_values, renderer]


def _escape_values(
    _logger: object, _method: str, event_dict: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape every value that is not a number, and what is shown of it for one that is not text."""
    event_dict["event"] = escaped_line(str(event_dict.get("event", "")))
    for key, value in event_dict.items():
        is_text = isinstance(value, str)
        if (is_text and not value.isprintable()) or not (
            is_text or key == "exc_info" or isinstance(value, int | float | None)
        ):
            event_dict[key] = EscapedValue(f"'{value}'" if is_text else repr(value))
    return event_dict


class EscapedValue:
    """A value as it is shown: the console would quote a text, and escape its escapes."""

    def __init__(self, text: str) -> None:
        self._text = escaped_line(text)

    def __repr__(self) -> str:
        """Show it."""
        return self._text


def _write_traceback(file: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    file.write("\n" + escaped("".join(traceback.format_exception(*exc_info)).rstrip()))
