"""Many tabs of one browser: one stream for all, which comes back after any end; nothing is missed."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser, Page, Route, expect

from blog.testing.harness import RunningBlog
from tests.e2e.readers import Open

WAITING = 30_000
"""Milliseconds until a page shows something at the latest: only a very slow machine needs them."""
NO_WORKER = "delete window.SharedWorker"
HIDEABLE = """
window.shows = "visible";
Object.defineProperty(document, "visibilityState", { get: () => window.shows });
window.become = (shows) => {
  window.shows = shows;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
both = pytest.mark.parametrize("without", ["", NO_WORKER], ids=["worker", "leader"])

Client = TestClient[Any, Any]


class Tabs:
    """Tabs of one browser on the page of one post, which other clients comment on."""

    def __init__(self, blog: RunningBlog, client: Client, post: str) -> None:
        self.blog = blog
        self.post = post
        self._client = client
        self.tabs: list[Page] = []

    async def open(self, context: Any, count: int) -> list[Page]:
        """Open so many, at the same time; return them once each hears of what happens."""
        self.tabs = [await context.new_page() for _ in range(count)]
        address = f"{self.blog.url}/read/{self.post}"
        await asyncio.gather(*(tab.goto(address) for tab in self.tabs))
        await asyncio.gather(*(tab.wait_for_selector("[data-connected]") for tab in self.tabs))
        for tab in self.tabs:
            await tab.evaluate("window.loadedOnce = true")
        return self.tabs

    async def comment(self, content: str) -> None:
        """Write a comment, somewhere else."""
        answer = await self._client.post(f"/posts/{self.post}/comments", json={"content": content})
        assert answer.status == 201, await answer.text()

    async def all_show(self, content: str) -> None:
        """Wait until every tab shows it, without having been loaded again."""
        await asyncio.gather(*(shows(tab, content) for tab in self.tabs))
        for tab in self.tabs:
            assert await tab.evaluate("window.loadedOnce")

    async def streams(self) -> int:
        """Ask the gateway how many streams of /live it has now."""
        return int((await self._counted())["streams"])

    async def was_refused(self) -> bool:
        """Ask the gateway whether it had to answer for query, which is not there."""
        return bool((await self._counted())["classes"][5])

    async def _counted(self) -> Any:
        headers = {"Authorization": f"Bearer {self.blog.token}"}
        answer = await self._client.session.get(f"{self.blog.registry_url}/v1/stats", headers=headers)
        return (await answer.json())["services"]["query"]

    async def until_streams(self, count: int) -> None:
        """Wait until it is so many."""
        await eventually(self.streams, count)


async def shows(tab: Page, content: str) -> None:
    """Wait until the tab shows a comment, approved."""
    approved = tab.locator("ol.comments > li.approved", has_text=content)
    await expect(approved).to_have_count(1, timeout=WAITING)


async def eventually(found: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Look until it is so."""
    async with asyncio.timeout(WAITING / 1000):
        while await found() != wanted:
            await asyncio.sleep(0.05)


async def workers(browser: Browser) -> list[Any]:
    """List the shared workers that run."""
    session = await browser.new_browser_cdp_session()
    found = (await session.send("Target.getTargets"))["targetInfos"]
    return [target for target in found if target["type"] == "shared_worker"]


@pytest.fixture
async def tabs(blog: RunningBlog, gateway_client: Client) -> Tabs:
    """Write a post to look at."""
    answer = await gateway_client.post("/posts", json={"title": "Hello"})
    return Tabs(blog, gateway_client, (await answer.json())["id"])


@asynccontextmanager
async def profile(browser: Browser, *scripts: str) -> AsyncIterator[Any]:
    """Give a browser profile that runs `scripts` before each page."""
    context = await browser.new_context()
    context.set_default_timeout(WAITING)
    for script in scripts:
        if script:
            await context.add_init_script(script)
    yield context
    await context.close()


@both
async def test_ten_tabs_have_one_stream(tabs: Tabs, browser: Browser, without: str) -> None:
    """A browser has six connections to a host: the seventh tab would hang, and so would every click."""
    async with profile(browser, without) as context:
        await tabs.open(context, 10)
        await tabs.until_streams(1)
        await tabs.comment("for all ten")
        await tabs.all_show("for all ten")
        assert await tabs.streams() == 1


async def test_tabs_with_and_without_a_worker_share_one_stream(tabs: Tabs, browser: Browser) -> None:
    """One in which the worker did not start, beside others in which it did."""
    async with profile(browser) as context:
        (first,) = await tabs.open(context, 1)
        await context.add_init_script(NO_WORKER)
        (second,) = await tabs.open(context, 1)
        tabs.tabs = [first, second]
        await tabs.until_streams(1)
        await tabs.comment("for both")
        await tabs.all_show("for both")
        assert await tabs.streams() == 1


@pytest.mark.parametrize("lacks", ["SharedWorker BroadcastChannel", "BroadcastChannel"])
async def test_a_page_is_live_whatever_the_browser_lacks(
    tabs: Tabs, browser: Browser, lacks: str
) -> None:
    """Without a way to talk to each other each tab has its own stream."""
    scripts = [f"delete window.{name}" for name in lacks.split()]
    async with profile(browser, *scripts) as context:
        await tabs.open(context, 2)
        await tabs.comment("heard")
        await tabs.all_show("heard")
        await tabs.until_streams(2 if "SharedWorker" in lacks else 1)


@both
async def test_refused_streams_come_back(tabs: Tabs, browser: Browser, without: str) -> None:
    """A 503 ends an EventSource for good; what was written meanwhile appears without a reload."""
    async with profile(browser, without) as context:
        await tabs.open(context, 3)
        await tabs.blog.scale(query=0)
        await eventually(tabs.was_refused, wanted=True)
        await tabs.comment("while nobody answered")
        await tabs.blog.scale(query=1)
        await tabs.all_show("while nobody answered")
        await tabs.until_streams(1)
        await tabs.comment("and now")
        await tabs.all_show("and now")


@both
async def test_hidden_tabs_have_no_stream(tabs: Tabs, browser: Browser, without: str) -> None:
    """It is closed when the last one is hidden, and back, with what was missed, when one is looked at."""
    async with profile(browser, HIDEABLE, without) as context:
        first, second = await tabs.open(context, 2)
        await tabs.until_streams(1)
        await first.evaluate("become('hidden')")
        await tabs.comment("the second is looked at")
        await shows(second, "the second is looked at")
        await tabs.until_streams(1)
        await second.evaluate("become('hidden')")
        await tabs.until_streams(0)
        await tabs.comment("nobody looks")
        await first.evaluate("become('visible')")
        await shows(first, "the second is looked at")
        await shows(first, "nobody looks")
        await expect(second.get_by_text("nobody looks")).to_have_count(0)
        await second.evaluate("become('visible')")
        await shows(second, "nobody looks")
        await tabs.until_streams(1)


@both
async def test_whichever_tab_is_closed_the_others_go_on(
    tabs: Tabs, browser: Browser, without: str
) -> None:
    """One of them held the stream; the last one takes it with it."""
    async with profile(browser, without) as context:
        await tabs.open(context, 3)
        for number in range(3):
            await tabs.until_streams(1)
            await tabs.comment(f"number {number}")
            await tabs.all_show(f"number {number}")
            await tabs.tabs.pop(0).close()
        await tabs.until_streams(0)


async def test_another_tab_takes_over_from_one_that_is_stuck(tabs: Tabs, browser: Browser) -> None:
    """It cannot say goodbye; when it is back, one of the two steps down."""
    async with profile(browser, NO_WORKER) as context:
        asked: list[Page] = []
        context.on("request", lambda one: asked.append(one.frame.page) if "/live?" in one.url else None)
        await tabs.open(context, 3)
        leader = asked[-1]
        others = [tab for tab in tabs.tabs if tab is not leader]
        # a stopped debugger is a tab that does nothing, for as long as the test likes
        debugger = await context.new_cdp_session(leader)
        await debugger.send("Debugger.enable")
        await debugger.send("Debugger.pause")
        stuck = asyncio.ensure_future(leader.evaluate("void 0"))
        while not any(page in others for page in asked):
            await asyncio.sleep(0.05)
        await tabs.comment("without the first")
        await asyncio.gather(*(shows(tab, "without the first") for tab in others))
        await debugger.send("Debugger.resume")
        await stuck
        await tabs.all_show("without the first")
        await tabs.until_streams(1)


async def test_a_worker_that_is_killed_is_replaced(tabs: Tabs, browser: Browser) -> None:
    """Its ports say nothing of that: the tabs notice that they get no answer."""
    async with profile(browser) as context:
        await tabs.open(context, 2)
        (worker,) = await workers(browser)
        session = await browser.new_browser_cdp_session()
        await session.send("Target.closeTarget", {"targetId": worker["targetId"]})
        async with asyncio.timeout(WAITING / 1000):
            while worker["targetId"] in [one["targetId"] for one in await workers(browser)]:
                await asyncio.sleep(0.05)
        await tabs.comment("while there was no worker")
        await tabs.all_show("while there was no worker")
        await tabs.until_streams(1)


@pytest.mark.parametrize("failing", ["503", "no connection", "202", "stale"])
async def test_a_refresh_that_failed_is_tried_again(tabs: Tabs, browser: Browser, failing: str) -> None:
    """For as long as something newer is known than what is shown; a stale copy is no success."""
    async with profile(browser) as context:
        (tab,) = await tabs.open(context, 1)
        await tabs.comment("before")
        await tabs.all_show("before")
        failures = 0

        async def fail_at_first(route: Route) -> None:
            nonlocal failures
            failures += 1
            if failures > 3:
                await route.continue_()
            elif failing == "no connection":
                await route.abort()
            elif failing == "stale":
                body = "<main data-stale><div id=comments><p>a stale copy</p></div></main>"
                await route.fulfill(content_type="text/html", body=body)
            else:
                await route.fulfill(status=int(failing), content_type="text/html", body="<main></main>")
                assert await tab.get_by_text("before").count() == 1

        await tab.route("**/read/*after=*", fail_at_first)
        await tabs.comment("told of once")
        await tabs.all_show("told of once")
        assert failures > 3
        await expect(tab.get_by_text("a stale copy")).to_have_count(0)


async def test_what_a_reader_does_is_not_disturbed(tabs: Tabs, browser: Browser) -> None:
    """What is typed, where the focus is, what is selected: others write meanwhile, above and below."""
    async with profile(browser) as context:
        (tab,) = await tabs.open(context, 1)
        for content in ("first words", "second words"):
            await tabs.comment(content)
            await tabs.all_show(content)
        box = tab.get_by_role("textbox", name="Comment")
        await box.press_sequentially("half a sent")
        select = "getSelection().selectAllChildren(document.querySelectorAll('ol.comments .text')[1])"
        await tab.evaluate(select)
        await box.focus()
        selected = await tab.evaluate("getSelection().toString()")
        await tab.evaluate("window.kept = document.querySelectorAll('ol.comments > li')[1]")
        await tabs.comment("third words")
        await tabs.all_show("third words")
        assert await tab.evaluate("document.querySelectorAll('ol.comments > li')[1] === window.kept")
        assert await tab.evaluate("getSelection().toString()") == selected
        await expect(box).to_be_focused()
        await expect(box).to_have_value("half a sent")
        await tab.evaluate(select)
        await tabs.comment("fourth words")
        await tabs.all_show("fourth words")
        assert "second words" in await tab.evaluate("getSelection().toString()")


async def test_the_worker_is_of_the_same_deploy_as_the_page(tabs: Tabs, browser: Browser) -> None:
    """Its address has the version of all scripts: that of an older page is another worker."""
    async with profile(browser) as context:
        (tab,) = await tabs.open(context, 1)
        script = await tab.locator("script[type=module]").get_attribute("src")
        assert script
        (worker,) = await workers(browser)
        assert worker["url"] == tabs.blog.url + script.replace("live.js", "worker.js")


async def test_two_deploys_share_one_stream(tabs: Tabs, browser: Browser) -> None:
    """Tabs of before and after a rollout have two workers, of which one holds the stream."""
    async with profile(browser) as context:
        (first,) = await tabs.open(context, 1)

        async def change(route: Route) -> None:
            text = await (await route.fetch()).text()
            changed = re.sub(r"/assets/\w+/live", "/assets/0123456789abcdef/live", text)
            await route.fulfill(body=changed, content_type="text/html")

        await context.route("**/read/*", change)
        (second,) = await tabs.open(context, 1)
        assert len(await workers(browser)) == 2
        tabs.tabs = [first, second]
        await tabs.until_streams(1)
        await tabs.comment("for both")
        await tabs.all_show("for both")
        assert await tabs.streams() == 1


async def test_one_browser_is_not_another(tabs: Tabs, browser: Browser, reader: Open) -> None:
    """Two profiles share nothing: each has a stream of its own."""
    async with profile(browser) as context, reader() as other:
        await tabs.open(context, 2)
        await other.page.goto(f"{tabs.blog.url}/read/{tabs.post}")
        await tabs.until_streams(2)
