"""Access log: one line per request. Lines are gathered and written together: a write costs more than a line.

On a terminal they are written as everything else is, one by one.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quote
from time import time
from typing import Literal, NamedTuple

from blog.core.logs import get_logger

Level = Literal["all", "errors"]
FLUSH_INTERVAL = 0.1
"""Seconds that a line may wait."""
_FLUSH_SIZE = 512
_ERROR = 500

log = get_logger()


class Line(NamedTuple):
    """What is said of a request. `path` has no query: that may hold what is nobody's business."""

    method: str
    path: str
    status: int
    seconds: float
    instance: str | None
    request_id: str
    trace: str
    client: str


class AccessLog:
    """Writes lines as JSON, or hands them to structlog. With `errors` only those of server errors."""

    def __init__(self, level: Level, *, is_json: bool, write: Callable[[str], object] | None = None) -> None:
        self.least = _ERROR if level == "errors" else 0
        self._is_json = is_json
        self._write = write or _to_stdout
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def add(self, line: Line) -> None:
        """Say it, now or soon."""
        if line.status < self.least:
            return
        if not self._is_json:
            told = line._asdict()
            seconds = told.pop("seconds")
            log.info("request.served", **told, ms=round(seconds * 1000, 2))
            return
        self._lines.append(self._format(line, time()))
        if len(self._lines) >= _FLUSH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines))

    def _format(self, line: Line, now: float) -> str:
        """Only what a client chose needs quoting: the path; ids are checked elsewhere."""
        if now - self._second >= 1 or now < self._second:
            self._second = int(now)
            self._stamp = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        method, path, status, seconds, instance, request_id, trace, client = line
        by = f'"{instance}"' if instance else "null"
        return (
            f'{{"event": "request.served", "method": "{method}", "path": {quote(path)}, "status": {status},'
            f' "ms": {seconds * 1000:.2f}, "instance": {by}, "request_id": "{request_id}",'
            f' "trace": "{trace}", "client": "{client}", "service": "gateway", "level": "info",'
            f' "timestamp": "{self._stamp}.{int((now - self._second) * 1000000):06d}Z"}}\n'
        )


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
