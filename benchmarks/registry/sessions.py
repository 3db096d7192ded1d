"""Sessions: a crowd of simulated instances. They speak the wire of a session, and nothing more.

Frames are masked with zeros (RFC 6455 §5.3 allows any key), so that one spelling serves all.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, cast

from blog.core.instance import Instance
from blog.registry.messages import Ack, DrainRequest, Heartbeat, Join, LeaveNotice, ReadyRequest

_HEAD_END = b"\r\n\r\n"
_MASKED, _SHORT, _MEDIUM, _LONG = 0x80, 125, 126, 127
_TEXT = 0x81


def masked(text: str) -> bytes:
    """Encode `text` as a frame of a client."""
    payload = text.encode()
    length = len(payload)
    if length <= _SHORT:
        head = struct.pack("!BB", _TEXT, _MASKED | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", _TEXT, _MASKED | _MEDIUM, length)
    else:
        head = struct.pack("!BBQ", _TEXT, _MASKED | _LONG, length)
    return head + bytes(4) + payload


BEAT = masked(Heartbeat().to_json())
READY, DRAIN, LEAVE = (masked(said.to_json()) for said in (ReadyRequest(), DrainRequest(), LeaveNotice()))


class Simulated(asyncio.Protocol):
    """One session. `ready_at` and `heard_at` are when it was told ready, and of the last change."""

    def __init__(self, instance: Instance | None, follow: Collection[str], token: str) -> None:
        self.instance = instance
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at = 0.0
        self.transport: asyncio.Transport
        self._follow = tuple(follow)
        self._token = token
        self._data = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(
            b"GET /v1/session HTTP/1.1\r\nHost: registry\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % self._token.encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take in frames, whole ones only."""
        self._data += data
        if not self._is_open:
            self._open()
        while (frame := self._frame()) is not None:
            self._take(frame)

    def beat(self) -> None:
        """Say that it lives; and that it is ready, until it has been dialled back."""
        self.transport.write(BEAT)
        if self.instance is not None and self.joined.done() and not self.ready.done():
            self.transport.write(READY)

    def say(self, encoded: bytes) -> None:
        """Say something else."""
        self.transport.write(encoded)

    def _open(self) -> None:
        head, end, rest = self._data.partition(_HEAD_END)
        if end:
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise SystemExit(head.decode())
            self._is_open, self._data = True, rest
            self.transport.write(masked(Join(instance=self.instance, follow=self._follow).to_json()))

    def _frame(self) -> bytes | None:
        data = self._data
        if not self._is_open or len(data) < 2:
            return None
        length, start = data[1], 2
        if length == _MEDIUM:
            length, start = int.from_bytes(data[2:4]), 4
        elif length == _LONG:
            length, start = int.from_bytes(data[2:10]), 10
        if len(data) < start + length:
            return None
        self._data = data[start + length :]
        return data[start : start + length]

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"delta"'):
            self.heard_at = time.monotonic()
            self._ack(payload)
        elif payload.startswith(b'{"type":"snapshot"'):
            self._ack(payload)
            if not self.joined.done():
                self.joined.set_result(None)
        elif payload.startswith(b'{"type":"ready"') and not self.ready.done():
            self.ready.set_result(None)

    def _ack(self, payload: bytes) -> None:
        version = payload[payload.index(b'"version":') + 10 :].partition(b",")[0]
        self.transport.write(masked(Ack(version=int(version)).to_json()))


class Crowd:
    """Sessions at one registry; every one beats once a second."""

    def __init__(self, port: int, token: str) -> None:
        self.sessions: list[Simulated] = []
        self._port = port
        self._token = token

    async def add(self, instance: Instance | None, follow: Collection[str]) -> Simulated:
        """Open a session, and wait until it is ready if it is an instance's."""
        _, session = await asyncio.get_running_loop().create_connection(
            lambda: Simulated(instance, follow, self._token), "127.0.0.1", self._port
        )
        self.sessions.append(session)
        await session.joined
        if instance is not None:
            session.say(READY)
            await session.ready
        return session

    async def beat(self) -> None:
        """Let everybody beat, spread over each second."""
        parts, number = 100, 0
        began = time.monotonic()
        while True:
            for session in self.sessions[number % parts :: parts]:
                session.beat()
            number += 1
            await asyncio.sleep(max(0.0, began + number / parts - time.monotonic()))


class DialBack(asyncio.Protocol):
    """Answers the dial-back for everybody: it is whoever is meant."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a whole head."""
        self._data += data
        if self._data.endswith(_HEAD_END):
            meant = self._data.lower().partition(b"blog-instance: ")[2].partition(b"\r\n")[0]
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nBlog-Instance: %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                % meant
            )
            self._transport.close()


async def in_turns(work: Collection[Callable[[], Coroutine[Any, Any, Any]]], at_once: int) -> None:
    """Do all of `work`, each a function that makes a coroutine, so many at a time."""
    waiting = list(work)[::-1]

    async def worker() -> None:
        while waiting:
            await waiting.pop()()

    await asyncio.gather(*(worker() for _ in range(at_once)))
