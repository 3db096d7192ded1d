"""A request to adopt a log, and what registries of any kind say to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.registry.client.log_adoption import AdoptionRefusedError, _known_at, adopt_log
from tests.registry.server.strangers import protected
from tests.registry.server.test_service import TOKEN, a_world


@asynccontextmanager
async def answering(status: int, text: str) -> AsyncIterator[str]:
    """Run a server that answers everything so; give its URL."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_registry_adopts_and_knows_it_already_the_next_time() -> None:
    """With the token of the blog."""
    async with a_world(known_log="one") as world:
        for _ in range(2):
            await adopt_log(world.http, world.url.rstrip("/"), "two", TOKEN)
        assert world.registry.log_identity.current == "two"
        with pytest.raises(AdoptionRefusedError, match="token") as refused:
            await adopt_log(world.http, world.url.rstrip("/"), "three", "another-token-of-ours")
        assert not refused.value.is_unknown


@pytest.mark.parametrize("known", ["null", "7", '["None"]', "{}"])
async def test_what_is_no_identity_is_not_known(known: str) -> None:
    """Neither `None` nor anything else that a registry may say."""
    async with answering(403, "{}") as refuses, aiohttp.ClientSession() as http:
        with pytest.raises(AdoptionRefusedError):
            await adopt_log(http, refuses, "None")
    async with answering(200, f'{{"log": {known}}}') as url, aiohttp.ClientSession() as http:
        assert await _known_at(http, url, None) is None


async def test_where_it_is_known_a_refusal_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator has done it there meanwhile."""
    async with protected(monkeypatch, known_log="two") as world:
        monkeypatch.setattr(
            "blog.core.net.access_policy.is_loopback", lambda _: False
        )  # it is asked from elsewhere
        await adopt_log(world.http, world.url.rstrip("/"), "two")
        with pytest.raises(AdoptionRefusedError, match="docker exec"):
            await adopt_log(world.http, world.url.rstrip("/"), "three")


@pytest.mark.parametrize(
    ("status", "text", "why", "is_unknown"),
    [
        (404, "{}", "of a version that cannot adopt", True),
        (405, "no", "of a version that cannot adopt", True),
        (500, "no", "it responded with 500", False),
        (403, '{"detail": "Not \\u001b[31myou"}', "Not", False),
    ],
)
async def test_a_refusal_has_its_reason(status: int, text: str, why: str, *, is_unknown: bool) -> None:
    """In one printable line; an older registry never will."""
    async with answering(status, text) as url, aiohttp.ClientSession() as http:
        with pytest.raises(AdoptionRefusedError, match=why) as refused:
            await adopt_log(http, url, "two")
    assert refused.value.is_unknown is is_unknown
    assert str(refused.value).isprintable()
