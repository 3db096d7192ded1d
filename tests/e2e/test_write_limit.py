"""Writes by rate, as readers meet them: what was typed into a form is still there, and sent once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser, expect

from blog.testing.harness import GatewayTestServer, RunningBlog, running_blog
from tests.e2e.readers import Reader

Client = TestClient[Any, Any]
NEVER = {"write_rate": 0.0001}
"""Nothing comes back while a test runs."""
SAID = "Write rate limit exceeded; retry after "


@asynccontextmanager
async def limited(folder: Path, **options: Any) -> AsyncIterator[tuple[RunningBlog, Client]]:
    """Run a blog with a limit, and a client of it."""
    async with running_blog(folder, options) as blog:
        server, cookies = GatewayTestServer(blog.url), aiohttp.CookieJar(unsafe=True)
        client: Client = TestClient(server, cookie_jar=cookies)
        async with client:
            yield blog, client


async def form_of(client: Client, path: str) -> dict[str, str]:
    """Open a page with a form; take what is hidden in it."""
    page = await (await client.get(path)).text()
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


async def exhaust(client: Client) -> None:
    """Write until it is too much, without making anything."""
    while (await client.post("/posts", json={})).status != 429:
        pass


async def test_one_form_is_one_write(tmp_path: Path) -> None:
    """What its service asks of others for it is not counted again, nor is reading."""
    async with limited(tmp_path, **NEVER, write_burst=3) as (_, client):
        for number in range(3):
            form = await form_of(client, "/write")
            answer = await client.post("/write", data=form | {"title": f"T{number}"})
            assert answer.status == 200
        answer = await client.post("/posts", json={"title": "x"})
        assert answer.status == 429
        assert answer.content_type == "application/problem+json"
        assert len(await (await client.get("/posts")).json()) == 3


async def test_every_form_keeps_what_was_typed(tmp_path: Path) -> None:
    """As a page with status 429 that says when to come again; nothing of it has happened."""
    async with limited(tmp_path, **NEVER, write_burst=4) as (_, client):
        page = await client.post("/write", data=await form_of(client, "/write") | {"title": "Mine"})
        post = page.url.path
        said = await form_of(client, post)
        text = await (await client.post(post, data=said | {"content": "as it was"})).text()
        comment = re.findall(rf'href="({post}/comments/[^"]+)/edit"', text)[0]
        while '"approved"' not in (before := await (await client.get("/posts")).text()):
            await asyncio.sleep(0.02)
        forms = {path: await form_of(client, path) for path in await _forms(post, comment)}
        await exhaust(client)
        for path, hidden in forms.items():
            typed = {"title": "typed <title>", "body": "typed body", "content": "typed & said"}
            answer = await client.post(path, data=hidden | typed)
            shown = unescape(await answer.text())
            assert (answer.status, answer.content_type) == (429, "text/html"), path
            seconds = int(answer.headers["Retry-After"])
            assert f"{SAID}{seconds} s." in shown
            assert f'value="{hidden["key"]}"' in shown
            if not path.endswith("/delete"):
                assert "typed & said" in shown or ("typed <title>" in shown and "typed body" in shown)
        assert await (await client.get("/posts")).text() == before


async def _forms(post: str, comment: str) -> list[str]:
    own = [f"{where}/{what}" for where in (comment, post) for what in ("edit", "delete")]
    return ["/write", post, *own]


async def test_what_was_sent_before_is_not_written_twice(tmp_path: Path) -> None:
    """A form whose answer was lost is sent again, refused, and sent once more: it is one post."""
    async with limited(tmp_path, write_rate=0.5, write_burst=1) as (_, client):
        form = await form_of(client, "/write") | {"title": "Once"}
        while (await client.post("/write", data=form, allow_redirects=False)).status != 303:
            await asyncio.sleep(0.05)
        refused = await client.post("/write", data=form, allow_redirects=False)
        if refused.status == 429:  # else this machine is slow, and it was let in
            hidden = re.findall(r'name="key" value="([^"]*)"', await refused.text())
            assert hidden == [form["key"]]
        while (await client.post("/write", data=form, allow_redirects=False)).status != 303:
            await asyncio.sleep(0.05)
        assert len(await (await client.get("/posts")).json()) == 1


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "plain"])
async def test_in_a_browser_a_refused_comment_is_still_there(
    tmp_path: Path, browser: Browser, *, javascript: bool
) -> None:
    """The page says why and keeps the text; sent again until it is let in, it is there once."""
    async with limited(tmp_path, write_rate=0.3, write_burst=2) as (blog, client):
        post = (await (await client.post("/posts", json={"title": "T"})).json())["id"]
        context = await browser.new_context(java_script_enabled=javascript)
        reader = Reader(await context.new_page(), blog.url)
        page = reader.page
        await page.goto(f"{blog.url}/read/{post}")
        sent = 0
        refused = page.get_by_role("alert")
        while not await refused.is_visible():  # where this machine is slow, one more may be let in
            sent += 1
            await page.get_by_label("Your name").fill("Me")
            await exhaust(client)
            async with page.expect_navigation():
                await reader.comment(f"typed {sent}\n\nas it is")
        await expect(refused).to_contain_text(SAID)
        await expect(refused).to_be_focused()  # the form is below all comments
        await reader.picture(f"error-write-limit-{'javascript' if javascript else 'plain'}")
        button = page.get_by_role("button", name="Send")
        while await refused.is_visible():
            box = page.get_by_role("textbox", name="Comment")
            await expect(box).to_have_value(f"typed {sent}\n\nas it is")
            await expect(page.get_by_label("Your name")).to_have_value("Me")
            async with page.expect_navigation():
                await button.click()
        comments = page.locator("ol.comments > li")
        await expect(comments).to_have_count(sent)
        await expect(comments.last).to_contain_text(f"typed {sent}")
        thread = await (await client.get(f"/posts/{post}")).json()
        assert len(thread["comments"]) == sent
        await context.close()
