"""Access log: one line per request. Lines are gathered: a write costs more than a line.

On a terminal they are written as everything else is, one by one.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quote
from time import time
from typing import Literal

from blog.core.logs import get_logger

Level = Literal["all", "errors"]
FLUSH_INTERVAL = 0.1
"""Seconds that a line may wait."""
_FLUSH_SIZE = 512
_ERROR = 500

log = get_logger()


class AccessLog:
    """Writes lines as JSON, or hands them to structlog. With `errors` only those of server errors."""

    def __init__(
        self, level: Level, *, is_json: bool, write: Callable[[str], object] | None = None
    ) -> None:
        self.least = _ERROR if level == "errors" else 0
        self._is_json = is_json
        self._write = write or _to_stdout
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def add(  # noqa: PLR0913, PLR0917 - a line, field by field: it is made for every request
        self,
        method: bytes,
        path: str,
        status: int,
        seconds: float,
        instance: str,
        request_id: bytes,
        trace: bytes,
        client: str,
    ) -> None:
        """Say what became of a request, now or soon.

        `path` is without the query, which may hold what is nobody's business; `instance` is empty
        where none answered. Only what a client chose needs quoting: the path.
        """
        if not self._is_json:
            log.info(
                "request.served",
                method=method.decode(),
                path=path,
                status=status,
                ms=round(seconds * 1000, 2),
                instance=instance or None,
                request_id=request_id.decode(),
                trace=trace.decode(),
                client=client,
            )
            return
        now = time()
        since = now - self._second
        if not 0 <= since < 1:
            since = self._tick(now)
        self._lines.append(
            '{"event": "request.served", "method": "%s", "path": %s, "status": %d, "ms": %.2f,'
            ' "instance": %s, "request_id": "%s", "trace": "%s", "client": "%s",'
            ' "service": "gateway", "level": "info", "timestamp": "%s.%06dZ"}\n'
            % (
                method.decode(),
                quote(path),
                status,
                seconds * 1000,
                f'"{instance}"' if instance else "null",
                request_id.decode(),
                trace.decode(),
                client,
                self._stamp,
                since * 1_000_000,
            )
        )
        if len(self._lines) >= _FLUSH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines))

    def _tick(self, now: float) -> float:
        """Spell the second anew; return what of it has passed."""
        self._second = int(now)
        self._stamp = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return now - self._second


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
