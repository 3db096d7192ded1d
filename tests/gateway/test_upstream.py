"""One request to one instance, exactly once, however it fails."""

import asyncio
from typing import Any

import pytest
from multidict import CIMultiDict

from blog.core.instance import Instance
from blog.gateway.upstream import Broken, NeverSent, Outgoing, Upstream


def outgoing(method: str = "GET", target: str = "/things", body: bytes | None = None) -> Outgoing:
    """Make a request."""
    return Outgoing(method, target, CIMultiDict({"Host": "blog"}), body)


async def test_refused_is_never_sent(rig: Any) -> None:
    """And the instance is gone."""
    with pytest.raises(NeverSent) as failure:
        await Upstream(rig.http).ask(rig.dead(), outgoing())
    assert failure.value.is_gone


async def test_misdirected_is_never_sent(rig: Any, count: Any) -> None:
    """421: somebody else answers there."""
    with pytest.raises(NeverSent):
        await Upstream(rig.http).ask(await rig.instance(count(status=421)), outgoing("POST", body=b"x"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_nothing_is_sent_twice_over_a_broken_pooled_connection(rig: Any, method: str) -> None:
    """The client of aiohttp would send idempotent methods again by itself; here none are."""
    heads: list[bytes] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    upstream, instance = Upstream(rig.http), await rig.raw(answer_once)
    async with await upstream.ask(instance, outgoing()) as answer:
        assert await answer.read() == b"ok"
    with pytest.raises(Broken):
        await upstream.ask(instance, outgoing(method))
    assert [head.split()[0].decode() for head in heads] == ["GET", method]


async def test_the_target_goes_byte_for_byte(rig: Any, count: Any) -> None:
    """No normalising, no quoting; and the instance is told that it is meant."""
    seen = count()
    instance: Instance = await rig.instance(seen)
    target = "/things/..%2f%00/../__proto__?a=%20+&b=%zz"
    async with await Upstream(rig.http).ask(instance, outgoing(target=target)):
        assert [path for _, path, _ in seen.requests] == [target]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_body_that_breaks_off_is_no_body(rig: Any, said: bytes) -> None:
    """Whichever way its end would have been told."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with await Upstream(rig.http).ask(await rig.raw(half), outgoing()) as answer:
        with pytest.raises(Broken):
            await answer.read()


async def test_an_answer_that_is_no_http_is_broken(rig: Any) -> None:
    """Nobody knows what was done."""

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello\r\n\r\n")

    with pytest.raises(Broken):
        await Upstream(rig.http).ask(await rig.raw(nonsense), outgoing())
