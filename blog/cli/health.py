"""`blog healthcheck`: are the instances that run here well? A program of its own, `blog-healthcheck`.

It starts every few seconds in every container, so it imports nothing but the standard library, and
speaks HTTP over a bare socket (`http.client` brings `email` and `ssl` along). It asks no registry.
Without a flag it asks whether they live. `--ready`: whether they take traffic. `--startup`, for engines
that have one probe for both: whether they take traffic until they did once, then whether they live.
"""

import os
import socket
import sys
import time

from blog.core.net.address import Address
from blog.core.printable import printable
from blog.lifecycle.local_instances import LocalInstance, running

TIMEOUT = 2.0
"""Seconds that an instance has for its answer."""
PATIENCE = 4.0
"""Seconds that all of them have together: an engine waits 5 s for this program."""

LIVE, READY = "/healthz", "/readyz"
_FLAGS = ("--ready", "--startup")
_USAGE = "Usage: blog-healthcheck [--ready | --startup]"
_MAX_ANSWER = 16 << 10
_SHOWN = 200
_OK = b"200"
_INSTANCE = b"blog-instance"


class Health:
    """What an instance said; `is_it` is false where another instance answered at its address."""

    __slots__ = ("is_it", "is_well", "says")

    def __init__(self, says: str, *, is_well: bool, is_it: bool = True) -> None:
        self.says = says
        self.is_well = is_well
        self.is_it = is_it

    def __repr__(self) -> str:
        """Show what was said."""
        return f"<Health {self.says!r}, {'well' if self.is_well else 'not well'}>"


def is_asked(words: list[str]) -> bool:
    """Return whether the words of a command line are a health check; help and mistakes are not."""
    return words[:1] == ["healthcheck"] and all(word in _FLAGS for word in words[1:])


def main(words: list[str] | None = None) -> int:
    """Check as the words (those of this process) say; return 0 or 1, or 2 for a wrong word."""
    words = sys.argv[1:] if words is None else words
    if not all(word in _FLAGS for word in words):
        print(_USAGE, file=sys.stderr)  # noqa: T201 - click would take longer than all the rest
        return 2
    return check(ready="--ready" in words, startup="--startup" in words)


def check(*, ready: bool, startup: bool = False) -> int:
    """Ask every instance that runs here; return 0 if all are well and there is one, else 1."""
    ends = time.monotonic() + PATIENCE
    found = 0
    all_well = True
    instances = running(_data_dir())
    for instance in instances:
        is_due = ready or (startup and not _has_started(instance, instances))
        health = ask(instance, READY if is_due else LIVE, ends)
        if health.is_it:
            print(f"{instance.id} at {instance.address}: {health.says}")  # noqa: T201
            found += 1
            all_well = all_well and health.is_well
    if not found:
        print("No instance runs here.")  # noqa: T201
    return 0 if found and all_well else 1


def ask(instance: LocalInstance, path: str, ends: float | None = None) -> Health:
    """Ask one instance; it answers within TIMEOUT, and before `ends` of the monotonic clock."""
    latest = time.monotonic() + TIMEOUT
    try:
        answer = _exchange(instance.own_address, path, latest if ends is None else min(latest, ends))
        status, headers, body = _parsed(answer)
    except (OSError, ValueError) as error:
        return Health(f"does not answer: {error}", is_well=False)
    is_it = headers.get(_INSTANCE) == instance.id.encode()
    return Health(_text(body), is_well=status == _OK, is_it=is_it)


def _has_started(instance: LocalInstance, others: list[LocalInstance]) -> bool:
    """Return whether its service was ready here: one more copy that starts is no illness of the rest."""
    return any(other.was_ready for other in others if other.service == instance.service)


def _data_dir() -> str:
    """Return BLOG_DATA_DIR as the settings read it: in any case of letters, "" is the default."""
    told = [value for name, value in os.environ.items() if name.upper() == "BLOG_DATA_DIR"]
    return next(filter(None, told), "data")


def _exchange(address: str, path: str, ends: float) -> bytes:
    """Send one request and return what came back. Raises OSError, also when it takes too long."""
    where = Address.parse(address)
    request = f"GET {path} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n"
    with socket.socket(where.family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(ends))
        connection.connect(where)
        connection.sendall(request.encode())
        answer = b""
        while not _is_whole(answer):
            connection.settimeout(_left(ends))
            part = connection.recv(4096)
            if not part:
                break
            answer += part
    return answer


def _left(ends: float) -> float:
    """Return the seconds until `ends`. Raises TimeoutError when there are none."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _is_whole(answer: bytes) -> bool:
    """Return whether there is nothing left to read: head and body, or more than an answer of ours has."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return len(answer) >= _MAX_ANSWER
    length = _headers(head).get(b"content-length", b"")
    return len(body) >= (int(length) if length.isdigit() and len(length) < 6 else _MAX_ANSWER)  # noqa: PLR2004


def _parsed(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return status, headers and body. Raises ValueError for what is not HTTP/1."""
    head, end, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if not end or not words[0].startswith(b"HTTP/1.") or len(words) < 2:  # noqa: PLR2004
        raise ValueError("its answer is not HTTP")
    return words[1], _headers(head), body


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _text(body: bytes) -> str:
    """Return what a body says, in ASCII: an engine keeps it with its logs."""
    return printable(body[:_SHOWN].decode("ascii", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
