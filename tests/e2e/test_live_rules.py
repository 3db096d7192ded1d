"""What the scripts of live pages decide: in Chromium, with a clock that the test moves, and no blog."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route

import blog.services.web

STATIC = Path(blog.services.web.__file__).parent / "static"
ORIGIN = "http://rules.example"

FAKE_SOURCE = """() => {
window.sources = [];
window.EventSource = class {
  constructor(url) { this.url = url; this.named = {}; this.isClosed = false; sources.push(this); }
  addEventListener(name, listener) { this.named[name] = listener; }
  close() { this.isClosed = true; }
  hear(name, lastEventId) { this.named[name]({ data: "{}", lastEventId }); }
};
}"""
ELECTIONS = """async (seed) => {
  const { Election } = await import("/election.js");
  let state = seed;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const members = Array.from({ length: 5 }, (_, n) => new Election(`id-${n}`, random));
  const post = [];                      // { at, to, message }
  const send = (from, now, messages) => {
    for (const message of messages) {
      for (const to of members) if (to !== from) post.push({ at: now + 5 + 40 * random(), to, message });
    }
  };
  const stuck = new Map();              // a member that does nothing: until when
  const most = [];                      // how many leaders there were, after it was quiet for long
  for (let now = 0; now < 40000; now += 5) {
    const isQuiet = now % 20000 > 12000;
    for (const member of members) {
      if (stuck.get(member) > now) continue;
      if (!isQuiet && random() < 0.002) stuck.set(member, now + 6000 * random());
      else if (!isQuiet && random() < 0.002) send(member, now, member.withdraw());
      else if (member.role === "idle" && random() < 0.01) send(member, now, member.stand(now));
      send(member, now, member.tick(now));
      for (const letter of post.filter(({ at, to }) => to === member && at <= now)) {
        post.splice(post.indexOf(letter), 1);
        send(member, now, member.receive(letter.message, now));
      }
    }
    if (now % 20000 === 19000) most.push(members.filter(({ role }) => role === "leader").length);
  }
  return most;
}"""


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Give an empty page beside the scripts, whose time stands still."""

    async def serve(route: Route) -> None:
        path = STATIC / route.request.url.removeprefix(f"{ORIGIN}/")
        if path.suffix == ".js":
            await route.fulfill(path=path, content_type="text/javascript")
        else:
            await route.fulfill(body="<!doctype html>", content_type="text/html")

    context = await browser.new_context()
    page = await context.new_page()
    await page.route(f"{ORIGIN}/**", serve)
    await page.clock.install(time=0)
    await page.goto(f"{ORIGIN}/")
    await page.clock.pause_at(1000)
    yield page
    await context.close()


async def test_pauses_grow_to_ten_seconds_and_are_spread(page: Page) -> None:
    """Full jitter: anything from nothing to the most there is after so many failures."""
    backoff: Any = await page.evaluate("""async () => {
      const { backoff } = await import("/backoff.js");
      const after = (chance) => [0, 1, 2, 5, 6, 1000].map((failures) => backoff(failures, chance));
      return { least: after(0), most: after(1) };
    }""")
    assert backoff["least"] == [0] * 6
    assert backoff["most"] == [1000, 1500, 2250, 7593.75, 10_000, 10_000]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_there_is_one_leader_once_it_is_quiet(page: Page, seed: int) -> None:
    """Whoever came, went or was stuck before, however late messages were."""
    for number in range(10):
        assert await page.evaluate(ELECTIONS, seed * 1000 + number) == [1, 1], number


@pytest.fixture
async def stream(page: Page) -> Page:
    """Give a page with a stream that is wanted."""
    await page.evaluate(FAKE_SOURCE)
    await page.evaluate("""async () => {
      const { Stream } = await import("/stream.js");
      window.told = [];
      window.stream = new Stream((message) => told.push(message));
      stream.want(true);
    }""")
    return page


async def opened(stream: Page) -> list[str]:
    """List the addresses that were opened."""
    found: list[str] = await stream.evaluate("sources.map(({ url }) => url)")
    return found


async def test_a_stream_goes_on_from_its_place(stream: Page) -> None:
    """The first one asks where it is; a new EventSource can say where the last one was only so."""
    assert await opened(stream) == ["/live?last_event_id=0%3A0"]
    await stream.evaluate("sources[0].onopen(); sources[0].hear('reset', 'a:7'); sources[0].onerror()")
    told = await stream.evaluate("told")
    assert told == [
        {"isOpen": True, "place": None},
        {"event": "reset", "data": "{}", "place": "a:7"},
        {"isOpen": False, "place": "a:7"},
    ]
    await stream.clock.run_for(1000)
    assert (await opened(stream))[1:] == ["/live?last_event_id=a%3A7"]
    assert await stream.evaluate("sources.map(({ isClosed }) => isClosed)") == [True, False]


async def test_a_stream_that_is_refused_asks_later_and_later(stream: Page) -> None:
    """Or at once, when somebody looks; and one that lasted begins anew."""
    await stream.evaluate("Math.random = () => 0.99")
    for pause in (990, 1485, 2227):
        count = len(await opened(stream))
        await stream.evaluate("sources.at(-1).onerror()")
        await stream.clock.run_for(pause - 10)
        assert len(await opened(stream)) == count
        await stream.clock.run_for(20)
        assert len(await opened(stream)) == count + 1
    await stream.evaluate("sources.at(-1).onerror(); stream.hurry(); stream.hurry()")
    assert len(await opened(stream)) == 5
    await stream.evaluate("sources.at(-1).onopen()")
    await stream.clock.run_for(11_000)
    await stream.evaluate("sources.at(-1).onerror()")
    await stream.clock.run_for(1000)
    assert len(await opened(stream)) == 6


async def test_a_stream_that_is_silent_is_dead(stream: Page) -> None:
    """A quiet one has beats; a connection that a router forgot has nothing, and no error either."""
    await stream.evaluate("sources[0].onopen(); sources[0].hear('post', 'a:7')")
    for _ in range(5):
        await stream.clock.run_for(15_000)
        await stream.evaluate("sources[0].hear('beat', 'a:7')")
    assert len(await opened(stream)) == 1
    await stream.clock.run_for(50_000)
    assert len(await opened(stream)) == 2


async def test_whoever_looks_does_not_wait_for_a_quiet_stream(stream: Page) -> None:
    """After more than a beat without a word it is opened anew; when the network is back, in any case."""
    await stream.evaluate("sources[0].onopen(); sources[0].hear('post', 'a:7')")
    await stream.clock.run_for(15_000)
    await stream.evaluate("stream.hurry()")
    assert len(await opened(stream)) == 1
    await stream.clock.run_for(6_000)
    await stream.evaluate("stream.hurry(); stream.hurry()")
    assert (await opened(stream))[1:] == ["/live?last_event_id=a%3A7"]
    await stream.evaluate("sources[1].onopen(); stream.hurry(true)")
    assert await stream.evaluate("sources.map(({ isClosed }) => isClosed)") == [True, True, False]


async def test_a_stream_that_nobody_wants_is_not_tried_again(stream: Page) -> None:
    """Neither while it is open nor in a pause."""
    await stream.evaluate("sources[0].onerror(); stream.want(false); stream.hurry()")
    await stream.clock.run_for(60_000)
    assert len(await opened(stream)) == 1
    await stream.evaluate("stream.want(true); sources[1].onopen(); stream.want(false)")
    await stream.clock.run_for(60_000)
    assert len(await opened(stream)) == 2
    assert await stream.evaluate("sources[1].isClosed")


WORKER = """async () => {
  window.tabs = [];
  window.join = () => {
    const { port1, port2 } = new MessageChannel();
    tabs.push(port1);
    dispatchEvent(new MessageEvent("connect", { ports: [port2] }));
  };
  // say that a tab is visible, and wait for the answer
  window.ping = (tab) => new Promise((resolve) => {
    tab.onmessage = resolve;
    tab.postMessage({ isVisible: true });
  });
  await import("/worker.js");
}"""


async def test_a_worker_forgets_a_tab_that_is_silent(page: Page) -> None:
    """One that crashed says nothing; the stream is open for as long as a visible one is there."""
    await page.evaluate(FAKE_SOURCE)
    await page.evaluate(WORKER)
    await page.evaluate("(join(), join(), Promise.all(tabs.map(ping)))")
    await page.clock.run_for(1000)
    assert await page.evaluate("sources.map(({ isClosed }) => isClosed)") == [False]
    for _ in range(3):
        await page.clock.run_for(10_000)
        await page.evaluate("(sources[0].hear('beat', ''), ping(tabs[1]))")
    await page.clock.run_for(14_000)
    assert await page.evaluate("sources.map(({ isClosed }) => isClosed)") == [False]
    await page.clock.run_for(2_000)
    assert await page.evaluate("sources.map(({ isClosed }) => isClosed)") == [True]
    await page.evaluate("ping(tabs[0])")
    await page.clock.run_for(1_000)
    assert await page.evaluate("sources.map(({ isClosed }) => isClosed)") == [True, False]


LINE = """async (hasWorker) => {
  if (!hasWorker) delete window.SharedWorker;
  else window.SharedWorker = class { constructor() { join(); this.port = tabs.at(-1); } };
  const { connect } = await import("/line.js");
  window.disconnect = connect(() => {});
}"""


async def count_of_sources(page: Page, count: int) -> int:
    """Return how many there are, once there are so many: messages have a time of their own."""
    for _ in range(300):
        if await page.evaluate("sources.length") >= count:
            break
        await page.clock.run_for(20)
    await page.evaluate("sources.at(-1).onopen()")
    return int(await page.evaluate("sources.length"))


@pytest.mark.parametrize("way", ["worker", "tab"])
async def test_a_page_says_that_the_network_is_back(page: Page, way: str) -> None:
    """To the worker, or to its own stream; that somebody looks is not the same."""
    await page.evaluate(FAKE_SOURCE)
    await page.evaluate(WORKER)
    await page.evaluate(LINE, way == "worker")
    count = 1
    for event in ("pageshow", "online", "pageshow", "online"):
        assert await count_of_sources(page, count) == count, event
        await page.evaluate("(name) => dispatchEvent(new Event(name))", event)
        count += event == "online"
    assert await count_of_sources(page, count) == count


FRESHNESS = """async () => {
  const { Freshness } = await import("/freshness.js");
  window.asked = [];
  window.isLooked = true;
  window.fresh = new Freshness((sequence) => new Promise((done, fail) => {
    asked.push(sequence);
    Object.assign(window, { done, fail });
  }), () => isLooked);
}"""


async def test_one_copy_is_asked_for_at_a_time(page: Page) -> None:
    """However much happens meanwhile: one more, as of the last of it."""
    await page.evaluate(FRESHNESS)
    await page.evaluate("for (let n = 1; n <= 100; n++) fresh.hear(`a:${n}`, true)")
    assert await page.evaluate("asked") == [1]
    await page.evaluate("done()")
    await page.clock.run_for(1600)
    assert await page.evaluate("asked") == [1, 100]
    await page.evaluate("done(); fresh.hear('a:101', false); fresh.compare('a:101')")
    await page.clock.run_for(60_000)
    assert await page.evaluate("asked") == [1, 100]
    await page.evaluate("fresh.compare('b:3')")
    assert await page.evaluate("asked") == [1, 100, 3]


async def test_a_copy_that_failed_is_asked_for_again(page: Page) -> None:
    """Later and later, at once when somebody looks, and not while nobody does."""
    await page.evaluate(FRESHNESS)
    await page.evaluate("fresh.hear('a:1', true); fail()")
    for count in (2, 3):
        await page.clock.run_for(2_300)
        assert await page.evaluate("asked.length") == count
        await page.evaluate("fail()")
    await page.evaluate("fresh.hurry()")
    await page.evaluate("isLooked = false; fail()")
    await page.clock.run_for(60_000)
    assert await page.evaluate("asked") == [1, 1, 1, 1]
    await page.evaluate("isLooked = true; fresh.hurry()")
    assert await page.evaluate("asked.length") == 5
    await page.evaluate("fail(); fresh.stop()")
    await page.clock.run_for(60_000)
    assert await page.evaluate("asked.length") == 5
