"""The append fast path, byte by byte: it responds as the routes do, and leaves the rest to them."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp.base_protocol import BaseProtocol

from blog.bus.api import append_fastpath
from blog.core.events import BATCH_TYPE, Envelope
from blog.lifecycle.member import Member
from tests.bus.conftest import TOKEN, Rig

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Client:
    """A connection to the bus, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Read one response: status, fields, body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[:-2]
        fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        body = await self._reader.readexactly(int(fields.get("content-length", 0)))
        return int(lines[0].split()[1]), fields, body

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes, and read one response."""
        self.writer.write(data)
        return await self.response()

    async def is_closed(self) -> bool:
        """Return whether nothing more comes."""
        return await self._reader.read() == b""


@asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[Client]:
    """Connect to the bus."""
    host, _, port = rig.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10):
            yield Client(reader, writer)
    finally:
        writer.close()


def event(id_: str) -> bytes:
    """Give an event as JSON."""
    return Envelope(id=id_, source="/t", type="blog.T", subject="k", time=NOW, data={}).to_json().encode()


def append(
    body: bytes, *fields: str, token: str = TOKEN, type_: str = "application/json", query: str = ""
) -> bytes:
    """Write a request to append."""
    own = [f"Authorization: Bearer {token}", f"Content-Type: {type_}"]
    if not any(field.startswith("Transfer-Encoding") for field in fields):
        own.append(f"Content-Length: {len(body)}")
    lines = "".join(f"{line}\r\n" for line in ("Host: bus", *own, *fields))
    return f"POST /events{query} HTTP/1.1\r\n{lines}\r\n".encode() + body


HEAD = f"GET /events/head HTTP/1.1\r\nHost: bus\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def on_fast_path(rig: Rig) -> int:
    """Count the connections that the fast path has."""
    assert isinstance(rig.bus.member, Member)
    fast_path = rig.bus.member._fast_path
    assert isinstance(fast_path, append_fastpath.AppendFastPath)
    return len(fast_path.limiter.open)


async def test_an_append_is_handled_without_a_framework(rig: Rig) -> None:
    """With the log's identity and a date, and the connection lives on."""
    async with connected(rig) as client:
        for n in range(3):
            status, fields, body = await client.ask(append(event(f"e{n}")))
            assert (status, json.loads(body)["results"][0]["sequence"]) == (200, n + 1)
            assert fields.keys() >= {"date", "blog-log", "content-length"}
        assert on_fast_path(rig) == 1


@pytest.mark.parametrize("cut", [1, 5, 13, 40, 120, -1])
async def test_pieces_mean_what_the_whole_means(rig: Rig, cut: int) -> None:
    """However a request is cut: in its line, in its head, in its body."""
    data = append(event("e"))
    async with connected(rig) as client:
        client.writer.write(data[:cut])
        await client.writer.drain()
        await asyncio.sleep(0)
        status, _, _ = await client.ask(data[cut:])
        assert status == 200
    assert len(await rig.events()) == 1


async def test_chunks_are_a_body_and_what_is_expected_is_asked(rig: Rig) -> None:
    """Transfer-Encoding, Expect: 100-continue, and the query."""
    async with connected(rig) as client:
        body = event("e")
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        status, _, _ = await client.ask(append(chunked, "Transfer-Encoding: chunked"))
        assert status == 200
        request = append(event("f"), "Expect: 100-continue", query="?expectedsequence=1")
        assert (await client.ask(request))[0] == 100
        assert (await client.response())[0] == 200
        status, _, body = await client.ask(append(event("g"), query="?expectedsequence=1"))
        assert (status, json.loads(body)["sequence"]) == (409, 2)


async def test_pipelined_appends_are_handled_in_order(rig: Rig) -> None:
    """And something else after them gets no response: it is sent again on another connection."""
    async with connected(rig) as client:
        client.writer.write(b"".join(append(event(f"e{n}")) for n in range(20)) + HEAD)
        for n in range(20):
            assert json.loads((await client.response())[2])["results"][0]["id"] == f"e{n}"
        assert await client.is_closed()


async def test_the_routes_handle_whatever_else_is_asked(rig: Rig) -> None:
    """On the same connection, first or later; and appends after it too."""
    async with connected(rig) as client:
        assert (await client.ask(append(event("e"))))[0] == 200
        for data in (HEAD, append(event("f")), HEAD):
            assert (await client.ask(data))[0] == 200
        assert on_fast_path(rig) == 0
    async with connected(rig) as client:
        assert (await client.ask(b"nonsense\r\n\r\n"))[0] == 400


async def test_a_connection_is_handed_over_with_its_flow_control(rig: Rig) -> None:
    """Its client may not be reading: responses before have filled it up."""
    async with connected(rig) as client:
        assert (await client.ask(append(event("e"))))[0] == 200
        assert isinstance(rig.bus.member, Member)
        fast_path = rig.bus.member._fast_path
        assert isinstance(fast_path, append_fastpath.AppendFastPath)
        [connection] = fast_path.limiter.open
        connection.pause_writing()
        fast_path.hand_over(connection, HEAD)
        protocol = connection.transport.get_protocol()
        assert isinstance(protocol, BaseProtocol)
        assert protocol.writing_paused
        protocol.resume_writing()
        assert (await client.response())[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (append(event("e"), token="wrong"), 401),
        (append(event("e"), "Blog-Instance: another"), 421),
        (append(event("e"), type_="text/plain"), 415),
        (append(gzip.compress(event("e")), "Content-Encoding: gzip"), 415),
        (append(b"not gzip", "Content-Encoding: gzip"), 415),
        (append(event("e"), "Content-Encoding: identity", "content-encoding: X-Unknown"), 415),
        (append(event("e"), "Content-Encoding: gzip", "Blog-Instance: another"), 421),
        (append(event("e"), "Content-Encoding: gzip", token="wrong"), 401),
        (append(event("e"), "Expect: 200-ok"), 417),
        (append(b"["), 400),
        (append(b""), 400),
        (append(b"{}"), 422),
        (append(b"[]", type_=BATCH_TYPE), 422),
        (append(event("e"), query="?expectedsequence=x"), 422),
        (append(event("e"), query="?expectedtype=x"), 422),
    ],
)
async def test_refusals_are_those_of_the_routes(rig: Rig, request_: bytes, status: int) -> None:
    """The same problem from both, and the connection lives on."""
    async with connected(rig) as client, connected(rig) as routed:
        await routed.ask(HEAD)
        own, other = await client.ask(request_), await routed.ask(request_)
        assert (own[0], json.loads(own[2])) == (other[0], json.loads(other[2]))
        assert own[0] == status
        for name in (
            "content-type",
            "blog-log",
            "www-authenticate",
            "accept",
            "accept-encoding",
            "blog-instance",
        ):
            assert own[1].get(name) == other[1].get(name)
        assert (await client.ask(append(event("good"))))[0] == 200
    assert [item.id for item in await rig.events()] == ["good"]


async def test_a_body_over_the_limit_is_refused_before_it_is_whole(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """413, and no more is read of this connection."""
    monkeypatch.setattr(append_fastpath, "MAX_BODY", 1000)
    async with connected(rig) as client:
        data = append(b"x" * 5000)
        status, fields, _ = await client.ask(data[:2500])
        assert (status, fields["connection"]) == (413, "close")


async def test_a_stranger_is_turned_away_before_the_body_is_read(rig: Rig) -> None:
    """Whoever has no token sends nothing that is kept."""
    async with connected(rig) as client:
        status, fields, _ = await client.ask(append(b"x" * 5000, token="wrong")[:-1000])
        assert (status, fields["connection"]) == (401, "close")


async def test_a_coding_is_refused_before_the_body_is_sent(rig: Rig) -> None:
    """415 on both paths instead of `100 Continue`; nothing of the body is taken for the next request."""
    data = append(gzip.compress(event("e")), "Content-Encoding: gzip", "Expect: 100-continue")
    head = data[: data.index(b"\r\n\r\n") + 4]
    for first in (b"", HEAD):
        async with connected(rig) as client:
            if first:
                await client.ask(first)
            status, fields, _ = await client.ask(head)
            assert (status, fields["connection"]) == (415, "close")
            assert fields["accept-encoding"] == "identity"


async def test_identity_is_no_coding(rig: Rig) -> None:
    """On both paths."""
    async with connected(rig) as client:
        for id_, first in (("a", b""), ("b", HEAD)):
            if first:
                await client.ask(first)
            assert (await client.ask(append(event(id_), "Content-Encoding: Identity")))[0] == 200


async def test_who_goes_away_leaves_nothing(rig: Rig) -> None:
    """What it began is appended, and draining does not wait for it."""
    assert isinstance(rig.bus.member, Member)
    requests = rig.bus.member.health.requests
    async with connected(rig) as client:
        client.writer.write(append(event("e")) + append(event("f"))[:-3])
    async with asyncio.timeout(5):
        while await rig.events() == [] or on_fast_path(rig):
            await asyncio.sleep(0.01)
        await requests.wait_until_zero()
    assert [item.id for item in await rig.events()] == ["e"]
    assert requests.count == 0


async def test_draining_waits_for_an_append_and_then_ends_connections(rig: Rig) -> None:
    """Who was answered was answered; afterwards nobody is left."""
    async with connected(rig) as client:
        assert (await client.ask(append(event("e"))))[0] == 200
        rig.bus.stop()
        assert await client.is_closed()
