"""What another process answers cannot take our memory: no coding is opened, what is read has a bound."""

import ast
import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from blog.core.net.http_client import (
    ResponseTooLargeError,
    UnexpectedCodingError,
    client_session,
    detail_of,
    parse_json,
    read_json,
    read_response,
)

BLOG = Path(__file__).parents[3] / "blog"
MAKER = BLOG / "core" / "net" / "http_client.py"


@asynccontextmanager
async def answering(fields: str, body: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Run a server that answers everything with this; give its URL, and the heads that it gets."""
    heads: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Encoding: gzip\r\n",
        "content-encoding: BR\r\n",
        "Content-Encoding: identity\r\nContent-Encoding: x-gzip\r\n",
    ],
)
async def test_a_coding_that_nobody_asked_for_is_an_error(fields: str) -> None:
    """Before the body is read, as an error of the client that every caller expects, in clear words."""
    async with answering(fields, gzip.compress(b"x" * 1000)) as (url, heads), client_session() as http:
        with pytest.raises(UnexpectedCodingError, match="content coding"):
            await http.get(url)
        assert "accept-encoding: identity\r\n" in heads[0].lower()
    assert issubclass(UnexpectedCodingError, aiohttp.ClientError)


async def test_where_only_heads_are_looked_at_a_coding_does_not_matter() -> None:
    """An instance is not taken for dead for how it packs what nobody reads; it is not unpacked."""
    packed = gzip.compress(b"x" * 1000)
    async with (
        answering("Content-Encoding: gzip\r\n", packed) as (url, _),
        client_session(reads_bodies=False) as http,
        http.get(url) as response,
    ):
        assert response.status == 200
        assert await read_response(response) == packed


@pytest.mark.parametrize("fields", ["Content-Length: 1000\r\n", ""])
async def test_a_response_over_the_limit_is_an_error(fields: str) -> None:
    """Whether it says how long it is or not; up to the limit it is read whole."""
    async with answering(fields, b"x" * 1000) as (url, _), client_session() as http:
        async with http.get(url) as response:
            assert await read_response(response, 1000) == b"x" * 1000
        async with http.get(url) as response:
            with pytest.raises(ResponseTooLargeError, match="more than 999 bytes"):
                await read_response(response, 999)
    assert issubclass(ResponseTooLargeError, aiohttp.ClientError)


async def test_an_endless_response_ends_at_the_limit() -> None:
    """A server that never stops sending is left after so many bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, asyncio.timeout(30), client_session() as http, http.get(url) as response:
        with pytest.raises(ResponseTooLargeError):
            await read_response(response, 100_000)


async def test_json_is_read_whatever_the_content_type() -> None:
    """A peer's answer is what it is."""
    async with (
        answering("Content-Type: text/plain\r\n", b'{"a": [1]}') as (url, _),
        client_session() as http,
        http.get(url) as response,
    ):
        assert await read_json(response) == {"a": [1]}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_not_json_is_a_value_error(body: bytes) -> None:
    """However deep, long or broken it is."""
    with pytest.raises(ValueError):  # noqa: PT011 - of which kind is json's business
        parse_json(body)
    assert not detail_of(body)


def test_a_problem_says_its_detail() -> None:
    """RFC 9457; anything else says nothing."""
    assert detail_of(b'{"detail": "No."}') == "No."
    assert detail_of(b"[]") == detail_of(b"{}") == ""


def modules() -> Iterator[tuple[Path, ast.AST]]:
    """Give every module of ours but the maker of clients."""
    return ((path, ast.parse(path.read_text())) for path in BLOG.rglob("*.py") if path != MAKER)


def test_every_client_is_made_in_one_place() -> None:
    """No module makes aiohttp's client itself: it would open what it gets."""
    for path, tree in modules():
        made = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {getattr(func, "attr", getattr(func, "id", "")) for func in made}
        assert "ClientSession" not in names, path


def test_every_body_is_read_by_what_has_a_bound() -> None:
    """`read`, `json`, `text`, `post` and `multipart` without arguments are awaited nowhere else."""
    readers = {"read", "json", "text", "post", "multipart"}
    allowed = {"request.read()"}  # in core.web, which knows what goes wrong there
    found = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
                call = node.value
                if not call.args and getattr(call.func, "attr", "") in readers:
                    text = ast.unparse(call)
                    found.add(text if path.name == "web.py" else f"{path}: {text}")
    assert found == allowed
