"""Rendering beside the event loop: once for all, short ones first, and no longer than a page waits."""

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from markupsafe import Markup

from blog.services.web.cooperative import render_cooperatively
from blog.services.web.html_cache import HtmlCache
from blog.services.web.markdown import plain
from blog.services.web.rendering import Renderer

NEVER, LONG = 0.0, 60.0


class Slow:
    """Renders when it may: `gate` holds everything up."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.order: list[str] = []

    def __call__(self, text: str) -> Markup:
        """Render one text."""
        self.order.append(text)
        self.begun.set()
        assert self.gate.wait(LONG)
        return Markup("<i>{}</i>").format(text)

    async def until_begun(self) -> None:
        """Wait until one is being rendered."""
        assert await asyncio.to_thread(self.begun.wait, LONG)


@pytest.fixture
def slow() -> Iterator[Slow]:
    """Give a renderer's inside that is held up, and let it go in the end."""
    slow = Slow()
    yield slow
    slow.gate.set()


async def waiting(renderer: Renderer, *texts: str) -> asyncio.Task[list[Markup]]:
    """Begin to wait for texts."""
    task = asyncio.create_task(renderer.render(texts, LONG))
    await asyncio.sleep(0)
    return task


async def test_a_text_that_many_want_is_rendered_once(slow: Slow) -> None:
    """At the same time or later, on one page or on many."""
    renderer = Renderer(slow)
    waiters = [await waiting(renderer, "a", "b", "a") for _ in range(5)]
    slow.gate.set()
    shown = await asyncio.gather(*waiters)
    assert shown == [["<i>a</i>", "<i>b</i>", "<i>a</i>"]] * 5
    assert await renderer.render(["a"], NEVER) == ["<i>a</i>"]
    assert Counter(slow.order) == {"a": 1, "b": 1}


async def test_what_does_not_come_in_time_is_plain_text_for_now(slow: Slow) -> None:
    """The page is shown without waiting longer; what was begun is there for the next one."""
    renderer = Renderer(slow)
    first = await waiting(renderer, "*a*")
    await slow.until_begun()
    assert await renderer.render(["*a*", "*b*"], NEVER) == [plain("*a*"), plain("*b*")]
    slow.gate.set()
    assert await first == ["<i>*a*</i>"]
    assert slow.order == ["*a*"]
    assert await renderer.render(["*b*"], LONG) == ["<i>*b*</i>"]


async def test_who_stops_waiting_stops_it_for_nobody_else(slow: Slow) -> None:
    """A reader who went away takes only what nobody else waits for."""
    renderer = Renderer(slow)
    busy = await waiting(renderer, "busy")
    await slow.until_begun()
    gone, stays = await waiting(renderer, "both", "one"), await waiting(renderer, "both")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    slow.gate.set()
    assert await stays == ["<i>both</i>"]
    await busy
    assert slow.order == ["busy", "both"]
    assert "0 texts with 0 characters queued" in repr(renderer)


async def test_short_texts_come_first(slow: Slow) -> None:
    """They cost the least; those of one length come in the order in which they were wanted."""
    renderer = Renderer(slow)
    waiters = [await waiting(renderer, "first")]
    await slow.until_begun()
    waiters += [await waiting(renderer, text) for text in ("long" * 9, "b", "a", "middle")]
    slow.gate.set()
    await asyncio.gather(*waiters)
    assert slow.order == ["first", "b", "a", "middle", "long" * 9]


async def test_no_more_waits_than_fits(slow: Slow) -> None:
    """What comes on top is plain text at once; when there is room again it is rendered."""
    renderer = Renderer(slow, max_queued=10)
    page = await waiting(renderer, "x" * 8)
    assert await renderer.render(["yyy"], LONG) == [plain("yyy")]
    slow.gate.set()
    assert await page == [f"<i>{'x' * 8}</i>"]
    assert await renderer.render(["yyy"], LONG) == ["<i>yyy</i>"]


async def test_what_the_parser_cannot_do_is_plain_text() -> None:
    """A fault in it keeps no page from being shown, and it is not asked again."""
    asked: list[str] = []

    def broken(text: str) -> Markup:
        asked.append(text)
        raise RuntimeError("block rule didn't increment state.line")

    renderer = Renderer(broken)
    for _ in range(2):
        assert await renderer.render(["*a*"], LONG) == [plain("*a*")]
    assert asked == ["*a*"]


async def test_what_was_over_the_budget_is_kept_as_well() -> None:
    """It costs its time once, not with every page."""
    asked: list[str] = []

    def counted(text: str) -> Markup:
        asked.append(text)
        return render_cooperatively(text)

    renderer, evil = Renderer(counted), "> " * 99 + "a\n" * 25_000
    for _ in range(2):
        assert await renderer.render([evil, "*b*"], LONG) == [plain(evil), "<p><em>b</em></p>\n"]
    assert asked == ["*b*", evil]


def test_the_collector_of_garbage_goes_on_after_a_text() -> None:
    """It is put off while a text is rendered, not for longer; where it was off it stays off."""
    for text in ("*a*", "> " * 99 + "a\n"):
        render_cooperatively(text)
        assert gc.isenabled()
    gc.disable()
    try:
        render_cooperatively("*a*")
        assert not gc.isenabled()
    finally:
        gc.enable()


def html(letter: str, times: int) -> Markup:
    """Make HTML of so many letters."""
    return Markup().join(letter * times)


def test_the_cache_is_bounded_in_bytes() -> None:
    """Of texts and HTML; what was used least goes, however few or many they are."""
    cache = HtmlCache(100_000)
    for number in range(1_000):
        cache.put(f"{number}" + "a" * 1_000, html("b", 1_000))
        assert cache.bytes <= 100_000
        assert cache.get("0" + "a" * 1_000) is not None
    assert cache.get("1" + "a" * 1_000) is None
    assert cache.get("999" + "a" * 1_000) == "b" * 1_000
    cache.put("small", html("x", 200_000))
    assert cache.get("small") is None
    assert cache.bytes == 0


def test_a_text_is_counted_once() -> None:
    """Kept again, it takes the place of what was there."""
    cache = HtmlCache(100_000)
    for letter, times in (("x", 50_000), ("y", 10), ("z", 10)):
        cache.put("a", html(letter, times))
    assert cache.get("a") == "z" * 10
    assert cache.bytes < 1_000
