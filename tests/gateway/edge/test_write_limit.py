"""What a client meets that writes too often, at the public port."""

import asyncio
import json
import re
from typing import Any

import pytest
from aiohttp import web

from blog.core.instance import Instance, Route
from blog.core.settings import Settings
from blog.gateway.edge import write_limit

NEVER = 0.0001
"""A rate at which nothing comes back while a test runs."""


@pytest.fixture
def settings() -> Settings:
    """Allow two at once, and trust the proxy at 127.0.0.1."""
    return Settings(write_rate=NEVER, write_burst=2, trusted_proxies=("127.0.0.0/8",))


async def statuses_of(rig: Any, said: list[str], method: str = "POST") -> list[int]:
    """Write once for each X-Forwarded-For; return how that was answered."""
    statuses = []
    for client in said:
        headers = {"X-Forwarded-For": client}
        async with rig.http.request(method, f"{rig.url}/things", data=b"x", headers=headers) as answer:
            statuses.append(answer.status)
            await answer.read()
    return statuses


async def test_a_problem_says_what_is_wrong_and_what_to_do(rig: Any, count: Any) -> None:
    """With whole seconds, rounded up, in `Retry-After` and in words."""
    await rig.instance(count())
    for _ in range(3):
        async with rig.http.post(f"{rig.url}/things", data=b"x") as answer:
            problem = await answer.read()
    seconds = int(answer.headers["Retry-After"])
    assert (answer.status, answer.content_type) == (429, "application/problem+json")
    assert 1 <= seconds <= 1 / NEVER
    assert json.loads(problem)["detail"] == f"Write rate limit exceeded; retry after {seconds} s."


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_whatever_may_write_counts(rig: Any, count: Any, method: str) -> None:
    """And what does not is free."""
    seen = count()
    await rig.instance(seen)
    assert await statuses_of(rig, ["10.0.0.1"] * 3, method) == [200, 200, 429]
    for safe, status in {"GET": 200, "HEAD": 200, "OPTIONS": 405}.items():
        assert await statuses_of(rig, ["10.0.0.1"] * 5, safe) == [status] * 5
    assert sum(one[0] == method for one in seen.requests) == 2


async def test_loopback_is_a_client_like_others(rig: Any, count: Any) -> None:
    """Nobody is let off for being near."""
    await rig.instance(count())
    statuses = []
    for _ in range(3):
        async with rig.http.post(f"{rig.url}/things", data=b"x") as answer:
            statuses.append(answer.status)
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    "said",
    [
        ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff:ffff:ffff:ffff"],
        ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107"],
        ["203.0.113.7:1", "203.0.113.7:2", "[::ffff:203.0.113.7]:3"],
        ["fe80::1%one", "fe80::1%two", "fe80::1%" + "x" * 200],
        ["1.1.1.1, 203.0.113.7", "2.2.2.2, 203.0.113.7", "127.0.0.1, 203.0.113.7"],
        ["nonsense 1", "nonsense 2", "x" * 5000],
        ["6.6.6.1, ???", "6.6.6.2, ???", ", " * 2000],
        ["0x7f.1", "1.2.3", "300.1.1.1"],
        ["127.0.0.1, " * 400 + "127.0.0.9"] * 3,
    ],
    ids=["network", "mapped", "port", "zone", "spoofed", "nonsense", "cut", "odd", "long"],
)
async def test_what_a_client_says_of_itself_makes_it_no_other(
    rig: Any, count: Any, said: list[str]
) -> None:
    """However it is written, or whatever stands before it: it is one client, with one limit."""
    await rig.instance(count())
    assert await statuses_of(rig, said) == [200, 200, 429]


class TestWithoutProxies:
    """Where nobody is trusted."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Believe nobody."""
        return Settings(write_rate=NEVER, write_burst=2)

    async def test_a_client_cannot_say_that_it_is_another(self, rig: Any, count: Any) -> None:
        """`X-Forwarded-For` of anybody is nothing."""
        await rig.instance(count())
        assert await statuses_of(rig, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) == [200, 200, 429]


async def test_a_refused_body_is_passed_over(rig: Any, count: Any) -> None:
    """What follows on the same connection is answered in its turn; no 100 asks for what is not read."""
    seen = count()
    await rig.instance(seen)
    await statuses_of(rig, ["127.0.0.1"] * 2)
    post = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    chunked = (
        b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    )
    get = b"GET /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = await rig.send(post + chunked + get)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"429", b"429", b"200"]
    expecting = (
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert (await rig.send(expecting)).startswith(b"HTTP/1.1 429 ")
    assert [one[0] for one in seen.requests] == ["POST", "POST", "GET"]


async def test_a_request_that_leads_nowhere_costs_nothing(rig: Any, count: Any) -> None:
    """It writes nothing either."""
    await rig.instance(count())
    for path, status in {"/nowhere": 404, "/refused/1/things": 404}.items():
        for _ in range(5):
            async with rig.http.post(rig.url + path, data=b"x") as answer:
                assert answer.status == status
    async with rig.http.delete(f"{rig.url}/things") as answer:
        assert answer.status == 405
    assert await statuses_of(rig, ["127.0.0.1"] * 3) == [200, 200, 429]


class TestForms:
    """Where the route's service shows what is refused."""

    @pytest.fixture
    async def requests(self, rig: Any) -> list[tuple[str, str, bytes]]:
        """Run an instance that does; give what it was asked."""
        requests: list[tuple[str, str, bytes]] = []

        async def show(request: web.Request) -> web.StreamResponse:
            requests.append((request.method, request.raw_path, await request.read()))
            return web.Response(status=429 if request.path.startswith("/refused/") else 200, text="page")

        instance: Instance = await rig.instance(show)
        routes = (
            Route(method="POST", pattern="/things", shows_refusals=True),
            Route(method="PUT", pattern="/things"),
        )
        rig._instances = {instance.id: instance.model_copy(update={"routes": routes})}
        rig.publish()
        return requests

    async def test_a_form_goes_to_where_it_is_only_shown(self, rig: Any, requests: list[Any]) -> None:
        """With its query and its body, and the seconds to wait; other routes get the problem."""
        answers = []
        for method in ("POST", "POST", "POST", "PUT"):
            url = f"{rig.url}/things?a=1%26b"
            async with rig.http.request(method, url, data=b"typed") as answer:
                answers.append((answer.status, answer.content_type))
        assert answers == [(200, "text/plain")] * 2 + [
            (429, "text/plain"),
            (429, "application/problem+json"),
        ]
        assert requests[:2] == [("POST", "/things?a=1%26b", b"typed")] * 2
        method, path, body = requests[2]
        seconds = path.removeprefix("/refused/").removesuffix("/things?a=1%26b")
        assert (method, body, len(requests)) == ("POST", b"typed", 3)
        assert 1 <= int(seconds) <= 1 / NEVER

    async def test_nobody_can_ask_for_it(self, rig: Any, requests: list[Any]) -> None:
        """The path is not routed, in whatever spelling."""
        for path in (
            "/refused/1/things",
            "/refused/1/../../things",
            "/%72efused/1/things",
            "//refused/1/things",
        ):
            status = await rig.send(
                b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                % path.encode()
            )
            assert status.startswith(b"HTTP/1.1 404 "), path
        assert not requests

    async def test_pages_of_refusals_have_a_limit_of_their_own(
        self, rig: Any, requests: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A flood gets what API clients get, which costs its service nothing."""
        await statuses_of(rig, ["10.0.0.1"] * 2)
        requests.clear()
        burst = write_limit._SHOWN_BURST
        now = rig.clock.monotonic()
        monkeypatch.setattr(rig.handler, "_now", lambda: now)
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(statuses_of(rig, ["10.0.0.1"] * (burst // 10 + 5)))
        assert len(requests) == burst
        assert {path.startswith("/refused/") for _, path, _ in requests} == {True}
