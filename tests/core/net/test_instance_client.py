"""A call reaches the instance that is meant or is an error, which tells whether it may have been seen."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.test_utils import TestServer, unused_port

from blog.core.instance import Instance
from blog.core.net.address import Address
from blog.core.net.http_client import client_session
from blog.core.net.instance_client import (
    CONNECT_TIMEOUT,
    InstanceClient,
    InstanceError,
    InstanceFailed,
    InstanceMisdirected,
    InstanceUnreachable,
)
from blog.core.web import INSTANCE_HEADER, misdirected, problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Called(NamedTuple):
    """A client, the instance that it calls, and what came of it."""

    client: InstanceClient
    instance: Instance
    requests: list[web.Request]
    reports: list[tuple[str, str]]


def instance_at(address: str) -> Instance:
    """Make an instance that others dial at `address`."""
    return Instance.announce("posts", address=address, started_at=datetime.now(UTC))


@asynccontextmanager
async def calling(
    handler: Handler, *, host: str = "127.0.0.1", token: str | None = None, address: str | None = None
) -> AsyncIterator[Called]:
    """Run an instance that answers everything by `handler`, and a client of it."""
    requests: list[web.Request] = []
    reports: list[tuple[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    async with TestServer(app, host=host) as server, client_session() as http:
        client = InstanceClient(http, token=token, report=lambda *what: reports.append(what))
        at = address or str(Address.of(host, server.port or 0))
        yield Called(client, instance_at(at), requests, reports)


async def echo(request: web.Request) -> web.Response:
    """Answer with what came."""
    return web.Response(status=203, headers={"X-Path": request.path_qs}, body=await request.read())


async def never(request: web.Request) -> web.Response:
    """Say nothing."""
    await asyncio.Event().wait()
    raise AssertionError(request)


async def redirect(request: web.Request) -> web.Response:
    """Send elsewhere."""
    raise web.HTTPFound("/elsewhere")


async def break_off(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def start_only(request: web.Request) -> web.StreamResponse:
    """Send the first bytes, and then nothing until the client has gone."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first")
    await asyncio.Event().wait()
    return response


async def start_and_break_off(request: web.Request) -> web.StreamResponse:
    """Send the first bytes of a longer body, and end."""
    response = web.StreamResponse(headers={"Content-Length": "10"})
    await response.prepare(request)
    await response.write(b"first")
    assert request.transport is not None
    request.transport.close()
    return response


async def test_a_request_names_whom_it_means() -> None:
    """With the token, and headers of the caller's; the response comes whole, whatever its status."""
    async with calling(echo, token="secret") as call:
        response = await call.client.request(
            call.instance,
            "POST",
            "/a%20b",
            timeout=5,
            params=[("x", "1"), ("x", "2")],
            headers={"Content-Type": "application/json", INSTANCE_HEADER: "somebody"},
            data=b"{}",
        )
        assert (response.status, response.body) == (203, b"{}")
        assert response.headers["x-path"] == "/a%20b?x=1&x=2"
        [request] = call.requests
        assert request.headers.getall(INSTANCE_HEADER) == [call.instance.id]
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.content_type == "application/json"
        assert call.reports == []
        assert repr(call.client) == "<InstanceClient with a token>"


async def test_without_a_token_none_is_sent() -> None:
    """The blog may have none."""
    async with calling(echo) as call:
        await call.client.request(call.instance, "GET", "/", timeout=None)
        assert "Authorization" not in call.requests[0].headers


async def test_an_instance_may_have_an_ipv6_address() -> None:
    """In brackets, as every URL has it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with calling(echo, host="::1") as call:
        assert call.instance.address.startswith("[::1]:")
        assert (await call.client.request(call.instance, "GET", "/", timeout=5)).status == 203


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    """An instance sends nobody anywhere: the caller sees it, and the token goes nowhere else."""
    async with calling(redirect) as call:
        response = await call.client.request(call.instance, "GET", "/", timeout=5)
        async with call.client.stream(call.instance, "GET", "/", silence=5) as stream:
            assert stream.status == response.status == 302
        assert len(call.requests) == 2


async def ask(call: Called, **options: Any) -> None:
    """Make a request."""
    await call.client.request(call.instance, "POST", "/", **{"timeout": 5, "data": b"x", **options})


async def ask_for_stream(call: Called, **options: Any) -> None:
    """Make a request whose response is read as it comes."""
    given = {"silence": 5, "data": b"x", **options}
    async with call.client.stream(call.instance, "POST", "/", **given) as stream:
        await stream.read()


@pytest.mark.parametrize("ways", [ask, ask_for_stream])
async def test_another_instance_at_the_address_did_nothing(ways: Callable[..., Any]) -> None:
    """That is told as what it is, and reported: the one that is meant is not there."""

    async def refuse(request: web.Request) -> web.Response:
        return problem(misdirected("posts-other"))

    async with calling(refuse) as call:
        with pytest.raises(InstanceMisdirected, match="posts-other responds") as caught:
            await ways(call)
        assert caught.value.responded_by == "posts-other"
        assert caught.value.instance is call.instance
        assert isinstance(caught.value, InstanceUnreachable)
        assert call.reports == [(call.instance.id, str(caught.value))]


@pytest.mark.parametrize("ways", [ask, ask_for_stream])
async def test_a_refused_connection_is_reported_once(ways: Callable[..., Any]) -> None:
    """Nobody has seen the request."""
    async with calling(echo, address=f"127.0.0.1:{unused_port()}") as call:
        with pytest.raises(InstanceUnreachable) as caught:
            await ways(call)
        assert caught.value.is_refused
        assert call.reports == [(call.instance.id, str(caught.value))]
        assert call.requests == []


@pytest.mark.parametrize("address", ["a..b:80", "x" * 64 + ".b:80", "localhost:99999"])
async def test_an_address_that_leads_nowhere_is_reported(address: str) -> None:
    """A name that is none, a port that is none."""
    async with calling(echo, address=address) as call:
        with pytest.raises(InstanceUnreachable) as caught:
            await ask(call)
        assert caught.value.is_refused
        assert [id_ for id_, _ in call.reports] == [call.instance.id]


class SlowConnector(aiohttp.TCPConnector):
    """Every connection takes longer than it may."""

    async def _create_connection(
        self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        assert timeout.sock_connect == CONNECT_TIMEOUT
        raise aiohttp.ConnectionTimeoutError("too slow")


async def test_a_connection_that_takes_too_long_was_never_made() -> None:
    """It has a second; nothing was sent."""
    reports: list[str] = []
    async with client_session(connector=SlowConnector()) as http:
        client = InstanceClient(http, report=lambda id_, why: reports.append(why))
        with pytest.raises(InstanceUnreachable, match="timeout to host") as caught:
            await client.request(instance_at("127.0.0.1:1"), "GET", "/", timeout=5)
        assert not caught.value.is_refused
        assert reports == [str(caught.value)]
        with pytest.raises(InstanceUnreachable):  # who has nobody to tell gets the error all the same
            await InstanceClient(http).request(instance_at("127.0.0.1:1"), "GET", "/", timeout=5)


class StuckConnector(aiohttp.TCPConnector):
    """No connection is ever made."""

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_time_out_tells_whether_the_request_was_sent() -> None:
    """Before the connection is there nothing was; afterwards the instance may have done it."""
    async with calling(never) as call:
        with pytest.raises(InstanceFailed, match="no response in time") as caught:
            await ask(call, timeout=0.2)
        assert (caught.value.is_timeout, caught.value.is_sent) == (True, True)
        assert call.reports == []
    async with client_session(connector=StuckConnector()) as http:
        with pytest.raises(InstanceFailed) as caught:
            await InstanceClient(http).request(
                instance_at("127.0.0.1:1"), "POST", "/", timeout=0.01, data=b"x"
            )
        assert (caught.value.is_timeout, caught.value.is_sent) == (True, False)


async def test_a_time_out_can_be_moved_from_outside() -> None:
    """Once the instance is suspect, nobody waits for it any longer."""
    seen = asyncio.Event()

    async def see(request: web.Request) -> web.Response:
        await request.read()
        seen.set()
        return await never(request)

    async with calling(see) as call:
        scope = asyncio.timeout(60)

        async def give_up() -> None:
            await seen.wait()
            scope.reschedule(asyncio.get_running_loop().time())

        async with asyncio.TaskGroup() as group:
            group.create_task(give_up())
            with pytest.raises(InstanceFailed) as caught:
                await ask(call, timeout=scope)
        assert (caught.value.is_timeout, caught.value.is_sent) == (True, True)


async def test_the_time_of_a_caller_is_the_callers() -> None:
    """Whoever gives up a call gets its own TimeoutError, not an error of the instance."""
    async with calling(never) as call:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(call, timeout=60)


@pytest.mark.parametrize("ways", [ask, ask_for_stream])
@pytest.mark.parametrize("handler", [break_off, start_and_break_off])
async def test_what_broke_may_have_been_done(handler: Handler, ways: Callable[..., Any]) -> None:
    """Before the head or within the body; the instance took the connection, so it is not reported."""
    async with calling(handler) as call:
        with pytest.raises(InstanceFailed) as caught:
            await ways(call)
        assert (caught.value.is_timeout, caught.value.is_sent) == (False, True)
        assert str(caught.value)
        assert call.reports == []


async def test_a_body_has_a_bound() -> None:
    """What is longer is an error like any other failure; the bytes are not kept."""
    async with calling(echo) as call:
        response = await call.client.request(
            call.instance, "POST", "/", timeout=5, data=b"12345", limit=5
        )
        assert response.body == b"12345"
        with pytest.raises(InstanceFailed, match="more than 5 bytes"):
            await ask(call, data=b"123456", limit=5)
        async with call.client.stream(call.instance, "POST", "/", silence=5, data=b"123456") as stream:
            with pytest.raises(InstanceFailed, match="more than 5 bytes"):
                await stream.read(5)


async def test_a_stream_is_read_while_it_comes() -> None:
    """Its head first, then the body in pieces; who has enough leaves."""
    async with calling(start_only) as call:
        async with call.client.stream(call.instance, "GET", "/", silence=60) as stream:
            assert (stream.status, stream.content_length) == (200, None)
            assert "Content-Type" in stream.headers
            assert repr(stream) == f"<InstanceStream of {call.instance.id}: 200>"
            async for chunk in stream.chunks():
                assert chunk == b"first"
                break
        assert call.requests[0].headers[INSTANCE_HEADER] == call.instance.id
    async with (
        calling(echo) as call,
        call.client.stream(
            call.instance, "POST", "/", silence=5, data=b"12345", read_bufsize=1 << 10
        ) as stream,
    ):
        assert stream.content_length == 5
        assert [chunk async for chunk in stream.chunks(2)] == [b"12", b"34", b"5"]


async def test_a_stream_that_falls_silent_has_failed() -> None:
    """Before its head, or within its body."""
    async with (
        calling(start_only) as call,
        call.client.stream(call.instance, "GET", "/", silence=0.2) as stream,
    ):
        chunks = stream.chunks()
        assert await anext(chunks) == b"first"
        with pytest.raises(InstanceFailed) as caught:
            await anext(chunks)
        assert (caught.value.is_timeout, caught.value.is_sent) == (True, True)
        assert repr(chunks) == f"<InstanceChunks of {call.instance.id}>"
    async with calling(never) as call:
        with pytest.raises(InstanceFailed) as caught:
            await ask_for_stream(call, silence=0.1)
        assert caught.value.is_timeout


async def test_an_error_of_the_reader_is_no_error_of_the_instance() -> None:
    """A disk that is full while a stream is written to it, say."""
    async with calling(echo) as call:
        with pytest.raises(OSError, match="full") as caught:
            async with call.client.stream(call.instance, "GET", "/", silence=5):
                raise OSError("full")
        assert not isinstance(caught.value, InstanceError)
        assert call.reports == []
