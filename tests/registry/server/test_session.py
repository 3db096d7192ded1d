"""One socket: frames as other programs read them, and followers that are too slow."""

import asyncio
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.registry.messages import TableDelta, parse_from_registry
from blog.registry.server.session import BACKLOG, ServerSession, frame


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
async def test_frames_are_read_by_others_as_they_were_said(length: int) -> None:
    """All three lengths of RFC 6455 §5.2, through a client that is not ours."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(frame("ä" * length))
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(server.make_url("/"), max_msg_size=0) as socket,
    ):
        assert await socket.receive_str(timeout=5) == "ä" * length


class Pipe:
    """A transport that holds what is written."""

    def __init__(self) -> None:
        self.held = 0
        self.is_aborted = False

    def is_closing(self) -> bool:
        """Return whether it was cut."""
        return self.is_aborted

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are not read yet."""
        return self.held

    def write(self, data: bytes) -> None:
        """Take more."""
        self.held += len(data)

    def abort(self) -> None:
        """Cut."""
        self.is_aborted = True


def test_a_follower_that_is_too_slow_is_cut_off() -> None:
    """It holds no more memory than that, and nothing is written after it."""
    pipe = Pipe()
    session = ServerSession(cast("web.WebSocketResponse", None), cast("asyncio.Transport", pipe))
    while not pipe.is_aborted:
        session.send_frame(bytes(1 << 20))
    assert BACKLOG < pipe.held <= BACKLOG + (1 << 20)
    session.send(TableDelta(version=1))
    assert pipe.held <= BACKLOG + (1 << 20)


def test_a_frame_of_a_message_is_that_message() -> None:
    """With its length before it."""
    message = TableDelta(version=7)
    assert parse_from_registry(frame(message.to_json())[2:].decode()) == message
