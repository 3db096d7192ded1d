"""What an action may do of which the gateway wants no more than a page."""

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from blog.core.clock import SystemClock
from blog.core.contract import PeerResponse
from blog.core.errors import NotFound, TooMany
from blog.core.net.access_policy import AccessPolicy
from blog.core.refusals import refused_path
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery
from blog.runtime.handler_context import HandlerContext
from blog.runtime.refusals import ReadOnlyPeers
from blog.runtime.web import make_app
from tests.services.peers import FakePeers

REFUSAL = TooMany("no")
LETTERS = '''
"""Letters: two actions, of which one asks a peer, and says what that one says."""

from pydantic import BaseModel

from blog.core.contract import Html, Peers, Redirect, Service
from blog.core.errors import BlogError, status_of

service = Service("letters")
done = []


class Letter(BaseModel):
    """What is typed."""

    text: str = ""


@service.action("POST", "/letters/{to}")
async def send(to: str, letter: Letter, peers: Peers, urgent: str = "") -> Html | Redirect:
    """Send a letter."""
    try:
        await peers.posts.post("/x", {}, author_token="a", key="k")
    except BlogError as error:
        shown = {"text": letter.text, "to": to, "urgent": urgent, "why": error.detail}
        return Html("letter.html", shown, status_of(error))
    return Redirect("/")


@service.action("POST", "/bins")
async def throw(letter: Letter) -> Redirect:
    """Do something that nobody is asked about."""
    done.append(letter.text)
    return Redirect("/")
'''


@pytest.mark.parametrize(
    "write",
    [
        lambda peer: peer.post("/x", {}, author_token="a", key="k"),
        lambda peer: peer.put("/x", {}, author_token="a", key="k"),
        lambda peer: peer.delete("/x", author_token="a", key="k"),
        lambda peer: peer.delete("/x", params={"a": "b"}, author_token="a", key="k"),
    ],
    ids=["post", "put", "delete", "delete with parameters"],
)
async def test_no_peer_takes_a_write(write: Callable[[Any], Awaitable[Any]]) -> None:
    """It is not even asked."""
    peers = FakePeers(posts=PeerResponse("written"))
    with pytest.raises(TooMany) as raised:
        await write(ReadOnlyPeers(peers, REFUSAL).posts)
    assert raised.value is REFUSAL
    assert peers.posts.requests == []


async def test_every_peer_is_read() -> None:
    """What is asked goes on as it is, and so does what is wrong with it."""
    peers = FakePeers(query=PeerResponse("read"), other=NotFound("gone"))
    reading = ReadOnlyPeers(peers, REFUSAL)
    assert (await reading.query.get("/x", params={"a": "b"}, after=3)).content == "read"
    assert peers.query.requests == [("/x", {"a": "b"}, 3)]
    with pytest.raises(NotFound):
        await reading.other.get("/x")


@pytest.fixture
def letters(tmp_path: Path) -> Any:
    """Write a service that is not of this blog, with templates of its own."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "letter.html").write_text("{{ to }}|{{ text }}|{{ urgent }}|{{ why }}")
    (tmp_path / "templates" / "error.html").write_text("{{ status }}|{{ detail }}")
    (tmp_path / "letters.py").write_text(LETTERS)
    spec = importlib.util.spec_from_file_location("letters", tmp_path / "letters.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def client(letters: Any) -> AsyncIterator[TestClient[Any, Any]]:
    """Run an instance of it, with nobody to ask."""
    host = HandlerContext(letters.service, None)
    async with aiohttp.ClientSession() as http:
        member = SimpleNamespace(
            discovery=Discovery(), http=http, clock=SystemClock(), metrics=CollectorRegistry()
        )
        host.member, host.is_open = cast("Member", member), True
        async with TestClient(TestServer(make_app(host, AccessPolicy(), 1 << 20))) as client:
            yield client


async def test_a_refused_form_is_shown_with_what_was_typed(client: TestClient[Any, Any]) -> None:
    """By the same function, as 429 that says when to come again; path and query are the form's own."""
    path = f"{refused_path(7)}/letters/b%2Fc?urgent=yes"
    response = await client.post(path, data={"text": "<typed>"})
    assert (response.status, response.content_type) == (429, "text/html")
    assert response.headers["Retry-After"] == "7"
    said = "b/c|&lt;typed&gt;|yes|Write rate limit exceeded; retry after 7 s."
    assert await response.text() == said


async def test_an_action_that_would_not_notice_is_not_called(
    client: TestClient[Any, Any], letters: Any
) -> None:
    """Without peers there is nothing that could stop it."""
    response = await client.post(f"{refused_path(7)}/bins", data={"text": "typed"})
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert await response.text() == "429|Write rate limit exceeded; retry after 7 s."
    assert letters.done == []
    response = await client.post("/bins", data={"text": "typed"}, allow_redirects=False)
    assert (response.status, letters.done) == (303, ["typed"])


async def test_a_refused_form_of_another_site_is_still_that(client: TestClient[Any, Any]) -> None:
    """It learns nothing that way."""
    evil = {"Origin": "https://evil.example"}
    response = await client.post(f"{refused_path(7)}/letters/me", data={"text": "x"}, headers=evil)
    assert response.status == 403


@pytest.mark.parametrize(
    "path", ["/refused/7/", "/refused/x/bins", "/refused/-1/bins", "/refused/7/none"]
)
async def test_only_forms_are_shown(client: TestClient[Any, Any], path: str) -> None:
    """What an instance does not know it does not do: one of an older version knows none of these."""
    assert (await client.post(path, data={"text": "x"})).status == 404
