"""`blog healthcheck`: are the instances that run here healthy? Also a program, `blog-healthcheck`.

It starts every few seconds in every container, so it imports only the standard library, and speaks
HTTP over a bare socket (`http.client` imports `email` and `ssl`). It asks no registry. Without a flag it
checks liveness, with `--ready` readiness. `--startup` is for engines that have one probe for both:
readiness until an instance was ready once, then liveness.
"""

import os
import socket
import sys
import time

from blog.core.net.address import Address
from blog.core.printable import escaped_line, printable
from blog.lifecycle.local_instances import LocalInstance, running

TIMEOUT = 2.0
"""Seconds that an instance has to respond."""
TOTAL_TIMEOUT = 4.0
"""Seconds that all of them have together: an engine waits 5 s for this program."""

LIVE, READY = "/healthz", "/readyz"
_FLAGS = ("--ready", "--startup")
_USAGE = "Usage: blog-healthcheck [--ready | --startup]"
_MAX_RESPONSE = 16 << 10
_SHOWN = 200
_OK = b"200"
_INSTANCE = b"blog-instance"


class Health:
    """The health of an instance; `is_same` is false if another instance responded at its address."""

    __slots__ = ("detail", "is_healthy", "is_same")

    def __init__(self, detail: str, *, is_healthy: bool, is_same: bool = True) -> None:
        self.detail = detail
        self.is_healthy = is_healthy
        self.is_same = is_same

    def __repr__(self) -> str:
        """Show the detail, and whether it is healthy."""
        return f"<Health {self.detail!r}, {'healthy' if self.is_healthy else 'not healthy'}>"


def is_healthcheck(words: list[str]) -> bool:
    """Return whether a command line is a valid health check; help and errors are left to click."""
    return words[:1] == ["healthcheck"] and all(word in _FLAGS for word in words[1:])


def main(words: list[str] | None = None) -> int:
    """Check with the options `words` (default: of this process); return 0 or 1, or 2 for a bad option."""
    words = sys.argv[1:] if words is None else words
    if not all(word in _FLAGS for word in words):
        print(_USAGE, file=sys.stderr)  # noqa: T201 - click would take longer than all the rest
        return 2
    return check(ready="--ready" in words, startup="--startup" in words)


def check(*, ready: bool, startup: bool = False) -> int:
    """Check every instance that runs here; return 0 if there is one and all are healthy, else 1."""
    ends = time.monotonic() + TOTAL_TIMEOUT
    found = 0
    all_healthy = True
    instances = running(_data_dir())
    for instance in instances:
        is_due = ready or (startup and not _has_started(instance, instances))
        health = ask(instance, READY if is_due else LIVE, ends)
        if health.is_same:
            _say(f"{instance.id} at {instance.address}: {health.detail}")
            found += 1
            all_healthy = all_healthy and health.is_healthy
    if not found:
        _say("No instance runs here.")
    return 0 if found and all_healthy else 1


def ask(instance: LocalInstance, path: str, ends: float | None = None) -> Health:
    """Ask one instance, for TIMEOUT at most, and not beyond `ends` of the monotonic clock."""
    latest = time.monotonic() + TIMEOUT
    try:
        response = _request(instance.own_address, path, latest if ends is None else min(latest, ends))
        status, headers, body = _parsed(response)
    except (OSError, ValueError) as error:
        return Health(f"does not respond: {error}", is_healthy=False)
    is_same = headers.get(_INSTANCE) == instance.id.encode()
    return Health(_text(body), is_healthy=status == _OK, is_same=is_same)


def _say(line: str) -> None:
    print(escaped_line(line))  # noqa: T201 - `core.output` would be one more import


def _has_started(instance: LocalInstance, others: list[LocalInstance]) -> bool:
    """Return whether its service was ready here: a replica that starts later is still healthy."""
    return any(other.was_ready for other in others if other.service == instance.service)


def _data_dir() -> str:
    """Return BLOG_DATA_DIR as the settings read it: case-insensitive, "" means the default."""
    values = [value for name, value in os.environ.items() if name.upper() == "BLOG_DATA_DIR"]
    return next(filter(None, values), "data")


def _request(address: str, path: str, ends: float) -> bytes:
    """Send one request and return what came back. Raises OSError, also when it takes too long."""
    where = Address.parse(address)
    request = f"GET {path} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n"
    with socket.socket(where.family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(ends))
        connection.connect(where)
        connection.sendall(request.encode())
        response = b""
        while not _is_complete(response):
            connection.settimeout(_left(ends))
            part = connection.recv(4096)
            if not part:
                break
            response += part
    return response


def _left(ends: float) -> float:
    """Return the seconds until `ends`. Raises TimeoutError if it has passed."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _is_complete(response: bytes) -> bool:
    """Return whether there is nothing left to read: head and body are there, or it is too long."""
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return len(response) >= _MAX_RESPONSE
    length = _headers(head).get(b"content-length", b"")
    return len(body) >= (int(length) if length.isdigit() and len(length) < 6 else _MAX_RESPONSE)  # noqa: PLR2004


def _parsed(response: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return status, headers and body. Raises ValueError if it is not HTTP/1."""
    head, end, body = response.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if not end or not words[0].startswith(b"HTTP/1.") or len(words) < 2:  # noqa: PLR2004
        raise ValueError("its response is not HTTP")
    return words[1], _headers(head), body


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _text(body: bytes) -> str:
    """Return the text of a body in ASCII: an engine keeps it with its logs."""
    return printable(body[:_SHOWN].decode("ascii", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
