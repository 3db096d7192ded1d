"""Bodies at every port: none is decompressed, and an error in one is a 4xx on a connection in order.

Each request goes over a socket as bytes; what follows on the connection shows whether it is in order.
"""

import ast
import asyncio
import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from pydantic import BaseModel
from structlog.testing import capture_logs

from blog.core.net.access_control import access_control
from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.net.http_server import app_runner
from blog.core.web import parsed, problems, read_all, read_body, requires_instance

BLOG = Path(__file__).parents[3] / "blog"
TOKEN = "token-of-a-server"
LIMIT = 1 << 20
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


class Draft(BaseModel):
    """What the app takes."""

    title: str


class Answered(NamedTuple):
    """An answer: its status, its fields by name in lower case, its body."""

    status: int
    fields: dict[str, str]
    body: bytes


class Wire:
    """A connection to the app, and what came to its handlers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.handled: list[str] = []

    async def answer(self) -> Answered:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")[:-2]
        fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(fields.get("content-length", 0)))
        return Answered(int(first.split()[1]), fields, body)

    async def ask(self, *pieces: bytes) -> Answered:
        """Send a request in pieces, each once the one before was read, and read its answer."""
        for piece in pieces[:-1]:
            self.writer.write(piece)
            for _ in range(10):
                await asyncio.sleep(0)
            await asyncio.to_thread(int)  # both ends are in this loop: it has had its turns
        self.writer.write(pieces[-1])
        return await self.answer()

    async def is_in_order(self, answered: Answered) -> bool:
        """Return whether the next request gets its own answer, or was told that there is none."""
        if answered.fields.get("connection") == "close":
            return await self.reader.read() == b""
        following = await self.ask(request("GET", "/hello"))
        return (following.status, following.body) == (200, b"hello")


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    """Write a request."""
    own = ["Host: blog", f"Authorization: Bearer {TOKEN}", *fields]
    if body and CHUNKED not in fields:
        own.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *own, "", ""]).encode("latin-1") + body


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Serve an app with the middlewares of an instance, and connect."""
    handled: list[str] = []

    async def write(request: web.Request) -> web.Response:
        handled.append(request.path)
        draft = parsed(Draft, await read_body(request, "application/json"))
        return web.json_response(draft.model_dump())

    async def take(request: web.Request) -> web.Response:
        handled.append(request.path)
        try:
            return web.Response(body=await read_all(request))
        except Exception as error:
            handled.append(type(error).__name__)
            raise

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(
        middlewares=[
            problems,
            access_control(AccessPolicy([TOKEN]), lambda _: Access.INTERNAL),
            requires_instance("me"),
        ],
        client_max_size=LIMIT,
    )
    app.add_routes([web.post("/write", write), web.post("/take", take), web.get("/hello", hello)])
    runner = app_runner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    made = Wire(reader, writer)
    made.handled = handled
    try:
        async with asyncio.timeout(30):
            yield made
    finally:
        writer.close()
        await runner.cleanup()


GOOD = b'{"title": "t"}'
PACKED = gzip.compress(GOOD, mtime=0)
CODED: dict[str, tuple[str, bytes]] = {
    "whole": ("gzip", PACKED),
    "corrupt": ("gzip", b"not gzip"),
    "cut off": ("gzip", PACKED[:-9]),
    "without a body": ("gzip", b""),
    "corrupt deflate": ("deflate", b"\xff" * 20),
    "corrupt brotli": ("br", b"\xff" * 20),
    "corrupt zstd": ("zstd", b"\xff" * 20),
    "unknown": ("x-unknown", GOOD),
    "second of two": ("identity, gzip", PACKED),
}


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/write", "/hello", "/nowhere"])
@pytest.mark.parametrize("name", CODED)
async def test_a_content_coding_is_415_wherever_it_comes(method: str, path: str, name: str) -> None:
    """Whole, corrupt, cut off, unknown; no handler runs, and the connection serves the next request."""
    coding, body = CODED[name]
    async with wire() as line:
        answered = await line.ask(request(method, path, JSON, f"Content-Encoding: {coding}", body=body))
        assert answered.status == 415
        assert answered.fields["content-type"] == "application/problem+json"
        assert answered.fields["accept-encoding"] == "identity"
        assert coding in json.loads(answered.body)["detail"]
        assert await line.is_in_order(answered)
        assert line.handled == []


async def test_identity_is_no_coding() -> None:
    """It says that the body is as it is."""
    async with wire() as line:
        answered = await line.ask(
            request("POST", "/write", JSON, "Content-Encoding: Identity", body=GOOD)
        )
        assert answered.status == 200


async def test_another_instance_and_a_stranger_are_told_so_first() -> None:
    """A foreign instance that had this address may know the coding: the gateway has to ask it instead."""
    gzipped = ("Content-Encoding: gzip", JSON)
    async with wire() as line:
        answered = await line.ask(
            request("POST", "/write", "Blog-Instance: other", *gzipped, body=PACKED)
        )
        assert answered.status == 421
        stranger = request("POST", "/write", *gzipped, body=PACKED).replace(b"Bearer token", b"Bearer x")
        assert (await line.ask(stranger)).status == 401


def bomb() -> bytes:
    """Write 1 GB of zeros as a gzip file of about 1 MB (RFC 1952)."""
    piece = bytes(16 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # after a full flush what follows depends on nothing before: the same bytes again are as many zeros
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.flush()
    crc = 0
    for _ in range(64):
        crc = zlib.crc32(piece, crc)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return head + packed * 64 + end + struct.pack("<II", crc, 1 << 30)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_gzip_bomb_is_not_opened(method: str) -> None:
    """1 MB that would be 1 GB: refused unread, and the instance stays as small as it was."""
    packed = bomb()
    assert len(packed) < 1_200_000
    data = request(method, "/write", JSON, "Content-Encoding: gzip", body=packed)
    async with wire() as line:
        tracemalloc.start()
        try:
            answered = await line.ask(data)
            in_order = await line.is_in_order(answered)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (answered.status, in_order, line.handled) == (415, True, [])
        assert peak < 32 << 20  # of 1 GB


HEAD = request("POST", "/write", JSON, CHUNKED)
CHUNK = b"%x\r\n%b\r\n" % (len(GOOD), GOOD)
BROKEN: dict[str, bytes] = {
    "size no number": b"zz\r\n",
    "longer than it says": b"5\r\nhelloX\r\n",
    "size negative": b"-5\r\nhello\r\n",
    "size huge": b"f" * 20 + b"\r\n",
    "trailer without colon": CHUNK + b"0\r\nX\r\n\r\n",
    "second chunk": CHUNK + b"?\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_chunks_are_400_and_the_end(name: str) -> None:
    """In one piece with the head or after it: one answer, `Connection: close`, and that is the end."""
    for pieces in ((HEAD + BROKEN[name],), (HEAD, BROKEN[name]), (HEAD + CHUNK, BROKEN[name])):
        async with wire() as line:
            answered = await line.ask(*pieces)
            assert answered.status == 400
            assert answered.fields["content-type"] == "application/problem+json"
            assert answered.fields["connection"] == "close"
            assert await line.is_in_order(answered)


async def test_a_handler_that_reads_no_body_answers_and_the_connection_ends() -> None:
    """Chunks that break under a request whose answer does not depend on them."""
    async with wire() as line:
        answered = await line.ask(request("GET", "/hello", CHUNKED), b"5\r\nhello\r\n")
        assert answered.status == 200
        line.writer.write(b"zz\r\n")
        assert await line.reader.read() == b""


BODIES: dict[str, tuple[list[str], bytes, int]] = {
    "not JSON": ([JSON], b"{", 400),
    "nothing": ([JSON], b"", 400),
    "not UTF-8": ([JSON], b'{"title": "\xff"}', 400),
    "UTF-16": (
        ["Content-Type: application/json; charset=utf-16"],
        '{"title": "t"}'.encode("utf-16"),
        400,
    ),
    "UTF-8 with a BOM": ([JSON], b"\xef\xbb\xbf" + GOOD, 400),
    "a lone surrogate": ([JSON], b'{"title": "\\ud800"}', 400),
    "a NUL as it is": ([JSON], b'{"title": "\x00"}', 400),
    "nested deeply": ([JSON], b"[" * 100_000, 400),
    "objects nested deeply": ([JSON], b'{"title":' * 50_000, 400),
    "a number of 5000 digits": ([JSON], b'{"title": "t", "x": ' + b"9" * 5000 + b"}", 400),
    "another type": ([JSON], b'{"title": NaN}', 422),
    "too large": ([JSON], b'{"title": "' + b"a" * LIMIT + b'"}', 413),
    "too large in chunks": (
        [JSON, CHUNKED],
        b"%x\r\n%b\r\n0\r\n\r\n" % (LIMIT + 1, b"a" * (LIMIT + 1)),
        413,
    ),
    "no content type": ([], GOOD, 415),
    "a form": (["Content-Type: multipart/form-data"], GOOD, 415),
    "a content type that is none": (["Content-Type: ;;=\t"], GOOD, 415),
    "a transfer coding": ([JSON, "Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n", 400),
    "a field that is not UTF-8": ([JSON, "Idempotency-Key: \xff"], GOOD, 400),
    "a content type that is not UTF-8": (["Content-Type: \xff"], GOOD, 400),
    "a coding that is not UTF-8": ([JSON, "Content-Encoding: \xff"], GOOD, 400),
    "another expectation": ([JSON, "Expect: 200-ok"], GOOD, 417),
    "two expectations": ([JSON, "Expect: 100-continue", "Expect: x"], GOOD, 417),
}


@pytest.mark.parametrize("name", BODIES)
async def test_what_cannot_be_read_is_a_4xx_on_a_connection_in_order(name: str) -> None:
    """Of any kind, as a problem (RFC 9457), and the next request has its own answer."""
    fields, body, status = BODIES[name]
    if any(field.startswith("Transfer-Encoding: gzip") for field in fields):
        data = request("POST", "/write", *fields) + body
    else:
        data = request("POST", "/write", *fields, body=body)
    async with wire() as line:
        answered = await line.ask(data)
        assert answered.status == status
        assert answered.fields["content-type"] == "application/problem+json"
        assert json.loads(answered.body)["status"] == status
        assert await line.is_in_order(answered)


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "idna", "nope", '"', "utf-8"])
async def test_a_charset_of_json_means_nothing(charset: str) -> None:
    """JSON is UTF-8 (RFC 8259 §8.1, §11): nobody looks for a codec by a name that a client made up."""
    async with wire() as line:
        field = f"Content-Type: application/json; charset={charset}"
        answered = await line.ask(request("POST", "/write", field, body=GOOD))
        assert answered.status == 200
        assert await line.is_in_order(answered)


async def test_what_is_not_http_is_a_problem_and_the_end() -> None:
    """400, as a problem, without a word of the parser's."""
    async with wire() as line:
        answered = await line.ask(b"GARBAGE\r\n\r\n")
        assert (answered.status, answered.fields["connection"]) == (400, "close")
        assert answered.fields["content-type"] == "application/problem+json"
        assert await line.reader.read() == b""


async def test_a_body_that_breaks_off_is_its_senders_error() -> None:
    """The client went away in the middle: that is not logged as a failure of ours."""
    with capture_logs() as lines:
        async with wire() as line:
            line.writer.write(request("POST", "/take", "Content-Length: 100") + b"half")
            while not line.handled:
                await asyncio.sleep(0)
            line.writer.transport.abort()
            while len(line.handled) < 2:
                await asyncio.sleep(0)
    assert line.handled == ["/take", "Malformed"]
    assert lines == []


async def test_a_body_is_asked_for_only_when_it_is_wanted() -> None:
    """`Expect: 100-continue`: the handler that reads gets it; a refusal comes at once, without it."""
    expecting = (JSON, "Expect: 100-continue", f"Content-Length: {len(GOOD)}")
    async with wire() as line:
        assert (await line.ask(request("POST", "/write", *expecting))).status == 100
        answered = await line.ask(GOOD)
        assert answered.status == 200
        assert await line.is_in_order(answered)
    for fields, path, status in (
        ((*expecting, "Content-Encoding: gzip"), "/write", 415),
        ((*expecting[1:], "Content-Type: text/plain"), "/write", 415),
        ((*expecting, "Blog-Instance: other"), "/write", 421),
        (expecting, "/nowhere", 404),
    ):
        async with wire() as line:
            answered = await line.ask(request("POST", path, *fields))
            # whether the body still comes is not known: what follows could be taken for it
            assert (answered.status, answered.fields["connection"]) == (status, "close")


async def test_who_sends_the_body_at_once_goes_on() -> None:
    """An expectation that was not waited for costs no connection."""
    async with wire() as line:
        data = request("POST", "/nowhere", JSON, "Expect: 100-continue", body=GOOD)
        answered = await line.ask(data)
        assert answered.status == 404
        assert await line.is_in_order(answered)


def test_every_server_is_made_in_one_place() -> None:
    """No module of ours makes aiohttp's server itself: it would decompress."""
    makers = {"AppRunner", "ServerRunner", "Server", "run_app", "TestServer", "make_handler"}
    for path in BLOG.rglob("*.py"):
        if path.relative_to(BLOG).as_posix() == "core/net/http_server.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                assert name not in makers, f"{path}: {name}"
