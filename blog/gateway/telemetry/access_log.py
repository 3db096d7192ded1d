"""Access log: one line per request. Lines are batched: a write costs more than a line.

On a terminal they are written one by one, as all other logs are.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quote
from time import time
from typing import Literal

from blog.core.logs import get_logger

Level = Literal["all", "errors"]
FLUSH_INTERVAL = 0.1
"""Seconds that a line may be delayed."""
_FLUSH_SIZE = 512
_ERROR = 500
_LINE = (
    b'{"event": "request.served", "method": "%b", "path": %b, "status": %d, "ms": %.2f,'
    b' "instance": %b, "request_id": "%b", "trace": "%b", "client": "%b",'
    b' "service": "gateway", "level": "info", "timestamp": "%b.%06dZ"}\n'
)
_WIDTH = 10
"""Values of a line."""

log = get_logger()


class AccessLog:
    """Writes lines as JSON, or passes them to structlog. With `errors` only those of server errors."""

    def __init__(
        self, level: Level, *, is_json: bool, write: Callable[[bytes], object] | None = None
    ) -> None:
        self.least = _ERROR if level == "errors" else 0
        self._is_json = is_json
        self._write = write or _to_stdout
        self._values: list[object] = []
        self._second = 0
        self._stamp = b""

    def add(  # noqa: PLR0913, PLR0917 - a line, field by field: it is made for every request
        self,
        method: bytes,
        path: str,
        status: int,
        seconds: float,
        instance: bytes,
        request_id: bytes,
        trace: bytes,
        client: bytes,
    ) -> None:
        """Log a request, now or soon.

        `path` is without the query, which may contain something private; `instance` is JSON already: an
        id, or null where none has responded. What a client chose is quoted here: the path.
        """
        if not self._is_json:
            log.info(
                "request.served",
                method=method.decode(),
                path=path,
                status=status,
                ms=round(seconds * 1000, 2),
                instance=json.loads(instance),
                request_id=request_id.decode(),
                trace=trace.decode(),
                client=client.decode(),
            )
            return
        now = time()
        since = now - self._second
        if not 0 <= since < 1:
            since = self._format_second(now)
        self._values += (
            method,
            quote(path).encode(),
            status,
            seconds * 1000,
            instance,
            request_id,
            trace,
            client,
            self._stamp,
            since * 1_000_000,
        )
        if len(self._values) >= _FLUSH_SIZE * _WIDTH:
            self.flush()

    def flush(self) -> None:
        """Write the batch, all lines formatted in one go."""
        if self._values:
            values, self._values = self._values, []
            self._write(_LINE * (len(values) // _WIDTH) % tuple(values))

    def _format_second(self, now: float) -> float:
        """Format the current second; return how much of it has passed."""
        self._second = int(now)
        stamp = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._stamp = stamp.encode()
        return now - self._second


def _to_stdout(lines: bytes) -> None:
    with suppress(OSError):  # a full disk costs lines, as in `core.logs`
        sys.stdout.flush()  # what was logged before
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
