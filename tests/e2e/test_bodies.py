"""Bodies that cannot be read, through the gateway: their sender gets a 4xx, and nobody else notices.

The gateway keeps its connections to instances for the next client: one that breaks is that client's 502.
"""

import asyncio
import gzip
from pathlib import Path

import aiohttp
import pytest

from blog.testing.harness import RunningBlog, running_blog

ROUNDS = 6
GOOD = b'{"title": "t"}'
JSON = ("Content-Type: application/json",)
FORM = ("Content-Type: application/x-www-form-urlencoded",)
GZIP = (*JSON, "Content-Encoding: gzip")
CHUNKED = (*JSON, "Transfer-Encoding: chunked")


def request(method: str, path: str, fields: tuple[str, ...], body: bytes) -> bytes:
    """Write a request; with its length, unless it is in chunks."""
    own = () if "Transfer-Encoding: chunked" in fields else (f"Content-Length: {len(body)}",)
    lines = (f"{method} {path} HTTP/1.1", "Host: blog", *fields, *own, "", "")
    return "\r\n".join(lines).encode() + body


HOSTILE: dict[str, tuple[bytes, int]] = {
    "gzip": (request("POST", "/posts", GZIP, gzip.compress(GOOD)), 415),
    "gzip, corrupt": (request("POST", "/posts", GZIP, b"not gzip" * 9), 415),
    "gzip, cut off": (request("POST", "/posts", GZIP, gzip.compress(GOOD)[:-9]), 415),
    "gzip, to read": (request("GET", "/posts", GZIP, b"not gzip"), 415),
    "gzip, a form": (request("POST", "/write", (*FORM, "Content-Encoding: gzip"), b"not gzip"), 415),
    "deflate, corrupt": (
        request("POST", "/posts", (*JSON, "Content-Encoding: deflate"), b"\xff" * 9),
        415,
    ),
    "brotli, corrupt": (request("POST", "/posts", (*JSON, "Content-Encoding: br"), b"\xff" * 9), 415),
    "a coding that nobody knows": (request("POST", "/posts", (*JSON, "Content-Encoding: x"), GOOD), 415),
    "gzip in chunks": (
        request("POST", "/posts", (*CHUNKED, "Content-Encoding: gzip"), b"3\r\nnot\r\n0\r\n\r\n"),
        415,
    ),
    "not JSON": (request("POST", "/posts", JSON, b"{"), 400),
    "not UTF-8": (request("POST", "/posts", JSON, b'{"title": "\xff"}'), 400),
    "a lone surrogate": (request("POST", "/posts", JSON, b'{"title": "\\ud800"}'), 400),
    "nested deeply": (request("POST", "/posts", JSON, b"[" * 100_000), 400),
    "a number of 5000 digits": (request("POST", "/posts", JSON, b"9" * 5000), 400),
    "a form that is not UTF-8": (request("POST", "/write", FORM, b"title=%ff"), 400),
    "too large": (request("POST", "/posts", JSON, b"x" * ((1 << 20) + 1)), 413),
    "broken chunks": (request("POST", "/posts", CHUNKED, b"5\r\nhello\r\nzz\r\n"), 400),
    "broken chunks of much": (
        request("POST", "/posts", CHUNKED, b"20000\r\n" + b"x" * 0x20000 + b"\r\nzz\r\n"),
        400,
    ),
}
BROKEN_OFF = request("POST", "/posts", CHUNKED, b"20000\r\n" + b"x" * 0x20000 + b"\r\n")


async def status_of(blog: RunningBlog, data: bytes) -> int:
    """Send bytes to the gateway; return the status of the answer."""
    host, _, port = blog.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


async def statuses_of_others(http: aiohttp.ClientSession, ended: asyncio.Event) -> set[int]:
    """Write and read as other clients do until the end; return what they were answered."""
    seen = set()
    while not ended.is_set():
        async with http.post("/posts", json={"title": "t"}) as written:
            seen.add(written.status)
        async with http.get("/posts?limit=1") as read:
            seen.add(read.status)
    return seen


async def test_a_body_that_cannot_be_read_costs_its_sender_alone(tmp_path: Path) -> None:
    """Every kind, again and again, over the connections that others' requests go over at that time."""
    async with (
        running_blog(tmp_path) as blog,
        aiohttp.ClientSession(blog.url) as http,
        asyncio.timeout(120),
        asyncio.TaskGroup() as group,
    ):
        ended = asyncio.Event()
        others = [group.create_task(statuses_of_others(http, ended)) for _ in range(4)]
        for _ in range(ROUNDS):
            for name, (data, status) in HOSTILE.items():
                assert (name, await status_of(blog, data)) == (name, status)
            await break_off(blog)
        ended.set()
        assert set().union(*[await other for other in others]) == {200, 201}


async def break_off(blog: RunningBlog) -> None:
    """Send a part of a body that the gateway sends on at once, and go away."""
    host, _, port = blog.url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(BROKEN_OFF)
    await writer.drain()
    writer.transport.abort()


@pytest.mark.parametrize("service", ["posts", "query", "web", "bus", "gateway"])
async def test_every_port_refuses_codings(tmp_path: Path, service: str) -> None:
    """Services, the bus and the registry in the gateway answer 415 directly, to whoever asks."""
    async with (
        running_blog(tmp_path) as blog,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {blog.token}"}) as http,
    ):
        [instance] = blog.instances(service)
        url = f"http://{instance.address}"
        for method, path in (
            ("POST", "/events"),
            ("PUT", "/v1/services/other/instances/x"),
            ("GET", "/v1/services"),
            ("GET", "/readyz"),
            ("POST", "/posts"),
            ("POST", "/subscriptions/moderation/pause"),
        ):
            coded = {"Content-Encoding": "gzip"}
            async with http.request(method, url + path, data=b"not gzip", headers=coded) as answer:
                assert (path, answer.status) == (path, 415)
                assert answer.headers["Accept-Encoding"] == "identity"
