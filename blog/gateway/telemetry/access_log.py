"""Access log: one line per request. Lines are gathered: a write costs more than a line.

On a terminal they are written as everything else is, one by one.
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
"""Seconds that a line may wait."""
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
    """Writes lines as JSON, or hands them to structlog. With `errors` only those of server errors."""

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
        """Say what became of a request, now or soon.

        `path` is without the query, which may hold what is nobody's business; `instance` is
        JSON already: an id, or null where none answered. What a client chose is quoted here: the path.
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
            since = self._tick(now)
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
        """Write what was gathered, all lines formatted in one go."""
        if self._values:
            values, self._values = self._values, []
            self._write(_LINE * (len(values) // _WIDTH) % tuple(values))

    def _tick(self, now: float) -> float:
        """Spell the second anew; return what of it has passed."""
        self._second = int(now)
        stamp = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._stamp = stamp.encode()
        return now - self._second


def _to_stdout(lines: bytes) -> None:
    with suppress(OSError):  # a full disk costs lines, as in `core.logs`
        sys.stdout.flush()  # what others have said before
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
