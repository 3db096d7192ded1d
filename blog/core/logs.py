"""Logs are facts: `event` is `noun.past`, values are keys, nothing secret, no bodies."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


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
    console = not is_json(log_format)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(pad_event_to=0) if console else _json_renderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
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


def _json_renderer() -> structlog.typing.Processor:
    return structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False)
