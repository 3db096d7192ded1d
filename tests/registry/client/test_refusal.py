"""A registry that refuses a session: both ends log it at once, with the true reason."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.net.access_policy import AccessPolicy
from blog.core.net.local_networks import LocalNetworks
from blog.registry.app import registry_app
from blog.registry.client.client import RegistryClient
from blog.registry.server.service import Registry

TOKEN, OTHER = "token-of-a-registry", "token-of-another-registry"
Lines = list[MutableMapping[str, Any]]


async def lines_of(app: web.Application, token: str | None, headers: dict[str, str]) -> Lines:
    """Return what is logged until the client's first line about the refusal."""
    async with TestServer(app) as server, aiohttp.ClientSession(headers=headers) as http:
        with capture_logs() as lines:
            url = str(server.make_url("")).rstrip("/")
            async with (
                asyncio.timeout(30),
                RegistryClient(
                    http=http, registries=[url], clock=SystemClock(), follow=["*"], token=token
                ),
            ):
                while not any(line["event"].startswith("registry.") for line in lines):
                    await asyncio.sleep(0.01)
    return lines


@pytest.mark.parametrize(
    ("tokens", "sent", "headers", "status", "reason", "advice"),
    [
        ([TOKEN], None, {}, 401, "Send the token", "set BLOG_TOKEN to the token"),
        ([TOKEN], OTHER, {}, 401, "Send the token", "another one than that registry has"),
        (
            [],
            None,
            {"X-Forwarded-For": "1.2.3.4"},
            403,
            "through a proxy",
            "set BLOG_TOKEN there and here",
        ),
        ([], TOKEN, {"Origin": "null"}, 403, "web pages", "has no BLOG_TOKEN"),
    ],
)
async def test_a_refusal_is_logged_at_both_ends(  # noqa: PLR0913, PLR0917 - a row of a table
    tokens: list[str], sent: str | None, headers: dict[str, str], status: int, reason: str, advice: str
) -> None:
    """Once, at the first try; the registry names who it was."""
    async with Registry(clock=SystemClock(), policy=AccessPolicy(tokens, LocalNetworks())) as registry:
        lines = await lines_of(registry_app(registry), sent, headers)
    [ours] = [line for line in lines if line["event"] == "registry.refused"]
    assert (ours["status"], ours["log_level"]) == (status, "error")
    assert reason in ours["reason"]
    assert advice in ours["next"]
    assert "BLOG_REGISTRY" not in str(ours)
    [theirs] = [line for line in lines if line["event"] == "request.refused"]
    assert (theirs["peer"], theirs["route"], theirs["reason"]) == (
        "127.0.0.1",
        "/v1/session",
        ours["reason"],
    )


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (web.Response(status=404), "it responded with 404"),
        (web.Response(status=403, body=b"\xff\x00"), "it responded with 403"),
        (web.Response(status=401, text='{"detail": "\\u001b]0;x\\u0007no\\nentry"}'), "]0;x no entry"),
        (web.Response(status=499, text='{"detail": 7}'), "7"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}), None),
        (web.Response(status=503), None),
    ],
)
async def test_what_is_no_registry_is_told_from_a_refusal(
    monkeypatch: pytest.MonkeyPatch, response: web.Response, reason: str | None
) -> None:
    """In one printable line, whatever it says; what may pass by itself is not an error at once."""
    monkeypatch.setattr("blog.registry.client.reconnecting._WARN_FIRST", 2)
    app = web.Application()

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=response.status, body=response.body, headers=response.headers)

    app.router.add_get("/v1/session", refuse)
    lines = await lines_of(app, None, {})
    line = next(line for line in lines if line["event"].startswith("registry."))
    assert line["event"] == ("registry.unreachable" if reason is None else "registry.refused")
    assert reason is None or line["reason"] == reason
