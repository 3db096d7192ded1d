"""What the public port does with every request, whatever comes after."""

import asyncio
import io
import json
from typing import Any

import pytest
from aiohttp import web

from blog.core.instance import Route
from blog.core.settings import Settings

pytestmark = pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True)

SITE = "https://site.example"


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with the headers that came."""
    return web.json_response(list(request.headers.items()))


async def problem_of(answer: Any) -> Any:
    """Read a problem."""
    assert answer.content_type == "application/problem+json"
    return json.loads(await answer.read())


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/events", "/readyz", "/metrics", "/reactions", "/"),
        *("/v1/services", "/v1/session", "/v1/watch", "/v1/prometheus", "/v1/routes"),
    ],
)
async def test_no_route_is_404(rig: Any, path: str) -> None:
    """A problem with the request's id; internal paths are not there."""
    await rig.instance(echo)
    async with rig.http.get(rig.url + path, headers={"X-Request-Id": "r-1"}) as answer:
        problem = await problem_of(answer)
    assert (answer.status, problem["status"]) == (404, 404)
    assert problem["instance"] == "urn:request:r-1"
    assert answer.headers["X-Request-Id"] == "r-1"


async def test_another_method_is_405_with_allow(rig: Any) -> None:
    """HEAD is allowed where GET is."""
    await rig.instance(echo)
    async with rig.http.delete(f"{rig.url}/things") as answer:
        await problem_of(answer)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST, PUT")


async def test_what_an_instance_hears(rig: Any) -> None:
    """Who asks, which request and trace it is, and that it is the one that is meant."""
    instance = await rig.instance(echo)
    headers = {"X-Forwarded-For": "6.6.6.6", "Blog-Instance": "evil", "Accept-Encoding": "br"}
    async with rig.http.get(f"{rig.url}/things", headers=headers) as answer:
        heard = {name.lower(): value for name, value in json.loads(await answer.read())}
    assert heard["x-forwarded-for"] == "127.0.0.1"
    assert heard["blog-instance"] == instance.id
    assert heard["x-request-id"] == answer.headers["X-Request-Id"]
    assert heard["traceparent"].startswith("00-")
    assert heard["accept-encoding"] == "br"
    assert heard["host"] == f"127.0.0.1:{rig.port}"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /things HTTP/1.1\r\n", 400),
        (b"GET /things HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET /things HTTP/1.1\r\nHost: a\r\nX: \xff\r\n", 400),
        (b"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"GET /things HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 33000 + b"\r\n", 431),
        (b"GET /things HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101, 431),
        (b"GET /things?" + b"x" * 33000 + b" HTTP/1.1\r\nHost: a\r\n", 431),
    ],
)
async def test_bad_heads_are_refused(rig: Any, count: Any, head: bytes, status: int) -> None:
    """And no instance hears of them."""
    seen = count()
    await rig.instance(seen)
    answered = await rig.send(head + b"Connection: close\r\n\r\n")
    assert answered.split()[1] == str(status).encode()
    assert not seen.requests


async def test_expect_continue_is_answered_here(rig: Any, count: Any) -> None:
    """The client gets its 100, the instance only the body."""
    seen = count()
    await rig.instance(seen)
    reader, writer = await rig.connect()
    head = b"POST /things HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    writer.write(head)
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    assert seen.requests == [("POST", "/things", b"hi")]


async def test_absolute_targets_lose_their_host(rig: Any, count: Any) -> None:
    """RFC 9112 §3.2.2: the path goes on."""
    seen = count()
    await rig.instance(seen)
    request = b"GET http://blog/things?x=1 HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\r\n"
    assert b"200 OK" in await rig.send(request)
    assert seen.requests == [("GET", "/things?x=1", b"")]


async def test_requests_are_counted_until_they_are_answered(rig: Any) -> None:
    """Draining waits for them."""
    began, end = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        began.set()
        await end.wait()
        return web.Response()

    await rig.instance(slow)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(rig.http.get(f"{rig.url}/things").__aenter__())
        await began.wait()
        assert rig.member.health.requests.count == 1
        end.set()
        (await asking).release()
        await rig.member.health.requests.wait_until_zero()


async def test_openapi_is_merged(rig: Any) -> None:
    """From one instance of each service; only operations that the service has."""

    async def describe(_: web.Request) -> web.StreamResponse:
        operations = {"/things": {"get": {"summary": "x"}}, "/secret": {"get": {}}}
        return web.json_response({"openapi": "3.1.0", "paths": operations})

    await rig.instance(describe)
    async with rig.http.get(f"{rig.url}/openapi.json") as answer:
        document = json.loads(await answer.read())
    assert document["paths"] == {"/things": {"get": {"summary": "x"}}}


async def test_an_instance_that_cannot_be_asked_for_its_description_is_reported(rig: Any) -> None:
    """As by every call to an instance; the document is there without it."""
    gone = rig.dead()
    async with rig.http.get(f"{rig.url}/openapi.json") as response:
        assert (await response.json())["paths"] == {}
    assert [id_ for id_, _ in rig.reports] == [gone.id]


class TestAcrossSites:
    """With an origin in the settings."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Share with one site."""
        return Settings(cors_origins=(SITE,), served_by=False)

    async def test_a_named_origin_may_read(self, rig: Any) -> None:
        """Answers and errors alike; others get nothing."""
        await rig.instance(echo)
        for path in ("/things", "/nowhere"):
            async with rig.http.get(rig.url + path, headers={"Origin": SITE}) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == SITE
        async with rig.http.get(rig.url, headers={"Origin": "https://evil.example"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers

    async def test_the_gateway_answers_preflights(self, rig: Any, count: Any) -> None:
        """No instance hears of them."""
        seen = count()
        await rig.instance(seen)
        headers = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
        async with rig.http.options(f"{rig.url}/things", headers=headers) as answer:
            assert answer.status == 204
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert not seen.requests

    async def test_who_served_can_be_kept_to_oneself(self, rig: Any, count: Any) -> None:
        """By setting."""
        await rig.instance(count())
        async with rig.http.get(f"{rig.url}/things") as answer:
            assert "Blog-Served-By" not in answer.headers


class TestWritesByRate:
    """With a limit for writes."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Allow two at once, and trust the proxy at 127.0.0.1."""
        return Settings(write_rate=0.5, write_burst=2, trusted_proxies=("127.0.0.0/8",))

    async def test_who_writes_too_often_is_told_when_to_come_again(self, rig: Any, count: Any) -> None:
        """429 with Retry-After, by client; reading is free."""
        seen = count()
        await rig.instance(seen)
        statuses = []
        for client in ("10.0.0.1",) * 3 + ("10.0.0.2",):
            headers = {"X-Forwarded-For": client}
            async with rig.http.post(f"{rig.url}/things", data=b"x", headers=headers) as answer:
                statuses.append(answer.status)
                if answer.status == 429:
                    assert answer.headers["Retry-After"] == "2"
        assert statuses == [200, 200, 429, 200]
        async with rig.http.get(f"{rig.url}/things", headers={"X-Forwarded-For": "10.0.0.1"}) as answer:
            assert answer.status == 200
        assert len(seen.requests) == 4

    async def test_a_trusted_proxy_speaks_for_its_client(self, rig: Any) -> None:
        """Address and scheme; the line in the log has the client too."""
        await rig.instance(echo)
        headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Forwarded-Proto": "https"}
        async with rig.http.get(f"{rig.url}/things", headers=headers) as answer:
            heard = {name.lower(): value for name, value in json.loads(await answer.read())}
        assert heard["x-forwarded-for"] == "203.0.113.7"
        assert heard["x-forwarded-proto"] == "https"
        rig.handler.sweep()
        [line] = (json.loads(line) for text in rig.lines for line in text.splitlines())
        assert (line["client"], line["status"], line["path"]) == ("203.0.113.7", 200, "/things")
        assert line["request_id"] == heard["x-request-id"]
        assert line["trace"] == heard["traceparent"]

    @pytest.mark.parametrize("said", ["::ffff:203.0.113.7", "[::ffff:203.0.113.7]:4711"])
    async def test_a_client_that_a_proxy_names_in_another_way_is_the_same(
        self, rig: Any, count: Any, said: str
    ) -> None:
        """IPv4 written as IPv6, by a proxy that serves both kinds with one socket."""
        await rig.instance(count())
        statuses = []
        for client in ("203.0.113.7", said, "203.0.113.7"):
            headers = {"X-Forwarded-For": client}
            async with rig.http.post(f"{rig.url}/things", data=b"x", headers=headers) as answer:
                statuses.append(answer.status)
        assert statuses == [200, 200, 429]


class TestBothKindsOfAddresses:
    """On every address, with one socket for IPv4 and IPv6."""

    @pytest.fixture
    def host(self) -> str:
        """Listen on both."""
        return "::"

    @pytest.fixture
    def settings(self) -> Settings:
        """Allow two at once, and trust the proxy at 127.0.0.1, but not that at ::1."""
        return Settings(write_rate=0.5, write_burst=2, trusted_proxies=("127.0.0.0/8",))

    async def test_a_client_has_one_address_everywhere(self, rig: Any) -> None:
        """Forwarded, trusted and logged: IPv4 as IPv4, IPv6 as IPv6."""
        await rig.instance(echo)
        headers = {"X-Forwarded-For": "203.0.113.7"}
        heard = []
        for url in (rig.url, rig.url.replace("127.0.0.1", "[::1]")):
            for given in ({}, headers):
                async with rig.http.get(f"{url}/things", headers=given) as answer:
                    fields = {name.lower(): value for name, value in json.loads(await answer.read())}
                heard.append((fields["x-forwarded-for"], fields["forwarded"].partition(";")[0]))
        assert heard == [
            ("127.0.0.1", "for=127.0.0.1"),
            ("203.0.113.7", "for=203.0.113.7"),
            ("::1", 'for="[::1]"'),
            ("::1", 'for="[::1]"'),
        ]
        rig.handler.sweep()
        logged = [json.loads(line)["client"] for text in rig.lines for line in text.splitlines()]
        assert logged == ["127.0.0.1", "203.0.113.7", "::1", "::1"]

    async def test_writes_are_limited_by_that_address(self, rig: Any, count: Any) -> None:
        """Each connection of a client is the same client."""
        await rig.instance(count())
        statuses = []
        for said in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "::ffff:127.0.0.1"}):
            async with rig.http.post(f"{rig.url}/things", data=b"x", headers=said) as answer:
                statuses.append(answer.status)
        assert statuses == [200, 200, 429]


async def test_a_route_may_say_its_own_limits(rig: Any, count: Any) -> None:
    """A body larger than what others take, and less time to answer."""
    seen = count()
    instance = await rig.instance(seen)
    routes = (
        Route(method="PUT", pattern="/things/{id}", body_limit=3 << 20),
        Route(method="GET", pattern="/things/{id}", answer_timeout=0.01),
    )
    rig._instances = {"large": instance.model_copy(update={"id": "large", "routes": routes})}
    rig.publish()
    async with rig.http.put(f"{rig.url}/things/1", data=io.BytesIO(b"x" * (2 << 20))) as answer:
        assert answer.status == 200
    assert len(seen.requests[0][2]) == 2 << 20

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    slow = await rig.raw(hang)
    rig._instances = {"slow": slow.model_copy(update={"id": "slow", "routes": routes})}
    rig.publish()
    async with rig.http.get(f"{rig.url}/things/1") as answer:
        assert answer.status == 504
