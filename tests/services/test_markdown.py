"""What rendering a text may cost: about what others of its length cost, or it is plain text."""

import sys
from functools import cache
from html import unescape
from itertools import count
from types import FrameType
from typing import Any

import pytest

from blog.services.web.budget import MAX_DEPTH, MAX_SECONDS, MIN_OUTPUT, OUTPUT_PER_CHARACTER
from blog.services.web.markdown import excerpt, plain, render

LONGEST = 100_000
QUOTES = "> " * 99 + "a\n" * 25_000
LONG_LINK = "[a]: http://x/" + "y" * 4_000 + "\n\n" + "[a] " * 23_900
PARAGRAPH = (
    "Some *words* with **weight**, `code`, a [link](https://example.org/a/path) and <b>no HTML</b>.\n"
    "A second line & more of it.\n\n- an item\n- another [one][r]\n\n> a quote\n\n"
)
ORDINARY = ("[r]: https://example.org/ 'Title'\n\n" + PARAGRAPH * LONGEST)[:LONGEST]


def filled(*parts: str, length: int = 10_000) -> str:
    """Give each of `parts` an equal share of the length, by saying it again and again."""
    share = length // len(parts)
    return "".join((part * (share // len(part) + 1))[:share] for part in parts)


def within(opened: str, times: int, inside: str, length: int = 10_000) -> str:
    """Open something so many times, then say `inside` again and again."""
    return (opened * times + inside * length)[:length]


EVIL = {
    "the issue's quotes": QUOTES,
    "the issue's link": LONG_LINK,
    "a long title": '[a]: x "' + "y" * 10_000 + '"\n\n' + "[a] " * 5_000,
    "an address that grows when escaped": "[a]: http://x/" + "&" * 500 + "\n\n" + "[a] " * 5_000,
    "quotes of lists": within("> - ", 40, "a\n"),
    "lists of quotes": within("- > ", 40, "a\n"),
    "quotes just allowed": within("> ", MAX_DEPTH - 1, "a\n"),
    "quoted definitions": within(">", MAX_DEPTH - 1, "[a]: x\n"),
    "quoted rows": within("> ", MAX_DEPTH - 1, "a|b\n"),
    "stairs": filled("".join(" " * (2 * n) + "- a\n" for n in range(20))),
    "many stairs": filled(">" * 40 + "a\n"),
    "open brackets": filled("["),
    "open images": filled("!["),
    "open links": filled("[a]("),
    "half references": "[a]: x\n\n" + filled("[a]["),
    "brackets in brackets": "[a]: x\n\n" + filled("[", "]"),
    "brackets on lines": filled("[a\n"),
    "one long label": "[a]: x\n\n" + filled("[", "a ") + "]",
    "many definitions": "".join(f"[a{n}]: x\n" for n in range(3_000)) + "\n[a1] " * 500,
    "emphasis": filled("**a *b "),
    "emphasis in emphasis": filled("*a ", " b*"),
    "all kinds of emphasis": filled("*a ~~b _c ", " d_ e~~ f*"),
    "strikes": filled("~~~ a ~~", " ~~~"),
    "stars": filled("*", "a"),
    "code that never ends": "".join("`" * n + " " for n in range(1, 240)),
    "code in labels": filled("".join("[" + "`" * n + "](a) " for n in range(1, 60))),
    "angles": filled("<a"),
    "addresses": filled("<http://ü>"),
    "an address of many letters": "<http://" + "".join(map(chr, range(0x4E00, 0x9E00))) + ">",
    "entities": filled("&amp;"),
    "backslashes": filled("\\"),
    "a wide table": "|".join("a" * 7_000) + "\n" + "|".join("-" * 7_000) + "\n" + "a\n" * 1_000,
    "a table of empty cells": "|".join("a" * 100) + "\n" + "|".join("-" * 100) + "\n" + "a\n" * 5_000,
    "tables": filled("a|b\n-|-\nc|d\n"),
    "a rule that is none": filled("* ") + "a",
    "rows of items": filled("- " * 15 + "a\n"),
    "tabs": filled("\t", "\ta\n"),
    "empty lines": filled("\n"),
    "one line": filled("a"),
    "a fence that never ends": "".join("`" * n + "\n" for n in range(3, 240)),
    "zeros": filled("\0"),
}


def counted(text: str) -> tuple[str, int]:
    """Render a text; return also how many lines of Python that took: the same on any machine."""
    lines = 0

    def count_line(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count_line

    before = sys.gettrace()
    sys.settrace(count_line)
    try:
        html = render(text, lambda: 0.0)
    finally:
        sys.settrace(before)
    return html, lines


@cache
def ordinary_work() -> int:
    """Return what the longest text takes, if it is like what people write."""
    return counted(ORDINARY)[1]


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL.keys())
def test_no_text_costs_much_more_than_an_ordinary_one_of_the_longest(text: str) -> None:
    """Neither work nor output; without a budget it is up to thousands of times as much."""
    html, lines = counted(text)
    assert len(html) <= MIN_OUTPUT + OUTPUT_PER_CHARACTER * len(text)
    assert lines <= 3 * ordinary_work()


@pytest.mark.parametrize("text", [QUOTES, LONG_LINK, within("> ", 99, "a\n"), filled("[")])
def test_what_is_over_the_budget_is_plain_text(text: str) -> None:
    """Line by line as it was typed, escaped, as one element."""
    assert render(text) == plain(text)
    assert unescape(plain(text)) == f'<pre class="plain">\n{text}</pre>\n'
    assert plain("<b>\n&") == '<pre class="plain">\n&lt;b&gt;\n&amp;</pre>\n'


@pytest.mark.parametrize(
    "text",
    [
        ORDINARY,
        filled("- a\n", length=LONGEST),
        filled("a|b\n-|-\nc|d\n\n", length=LONGEST),
        filled("*a* **b** `c` ", length=LONGEST),
        filled("[a](https://example.org/) ", length=LONGEST),
        filled("# a\n\nb\n\n", length=LONGEST),
        "".join(f"{'>' * depth} a\n" for depth in range(1, 30)),
        "".join(f"{'  ' * depth}- a\n" for depth in range(20)),
        "".join(f"[a{n}]: https://example.org/{n}\n" for n in range(100)) + "\n[a1] [a2]\n",
        "",
        "a",
    ],
    ids=lambda text: text[:12],
)
def test_what_people_write_is_rendered(text: str) -> None:
    """However long, dense or deep it is within reason."""
    assert not render(text).startswith('<pre class="plain">')


def test_the_same_text_is_always_the_same() -> None:
    """What decides is counted, not timed: a clock that stands still changes nothing."""
    for text in (ORDINARY, QUOTES, filled("[")):
        assert render(text, lambda: 0.0) == render(text)


def test_time_is_the_last_bound() -> None:
    """Of what the count should miss: when the processor's time is over, it is plain text."""
    ticks = count(step=MAX_SECONDS)
    assert render(PARAGRAPH * 10, lambda: next(ticks)) == plain(PARAGRAPH * 10)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a " * 50_000, "a " * 139 + "a …"),
        ("\n\n" * 40_000 + "a", "a"),
        ("a" + " " * 50_000 + "b", "a …"),
        ("a" * 50_000, "a" * 280 + " …"),
        ("a\n\n" + "b" * 50_000, "a"),
        (" " * 50_000, ""),
    ],
    ids=["words", "lines", "gap", "word", "second", "blank"],
)
def test_an_excerpt_of_a_long_text_looks_at_its_beginning(text: str, shown: str) -> None:
    """The list shows twenty of them, made on the event loop."""
    assert excerpt(text) == shown
