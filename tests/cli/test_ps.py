"""`blog ps` fits into a terminal of eighty columns, whatever is to be shown."""

from typing import Any

import pytest
from rich.console import Console

from blog.cli.ps import _screen, age

SERVICE = {
    "service": "moderation",
    "ready": 1,
    "wanted": 3,
    "in_flight": 12,
    "requests_s": 1234.5,
    "p99_ms": None,
    "waiting": 100000,
    "why": "load: 350 events behind, 100 each, for 60 s",
}
INSTANCE = {
    "name": "moderation-12",
    "service": "moderation",
    "id": "moderation-01a211d8-2bab-757e-909f-c973c5543b1a",
    "state": "draining",
    "since_s": 3599,
    "address": "127.0.0.1:44755",
    "version": "0.1.0",
    "in_flight": 12,
    "behind": None,
    "restarts": 3,
}
CRASHED = INSTANCE | {"name": "comments-1", "state": "crash loop", "last_lines": ["[/red] why"]}


def screen(width: int, *rows: dict[str, Any], problem: str = "") -> list[str]:
    """Return the lines as they are in a terminal so wide."""
    console = Console(width=width, record=True, highlight=False, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(_screen(rows, {"services": [SERVICE], "problem": problem}, width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_per_instance_is_one_line(width: int) -> None:
    """Nothing is folded or cut off."""
    lines = screen(width, INSTANCE, CRASHED)
    assert max(map(len, lines)) <= width
    [line] = [line for line in lines if line.startswith("moderation-12")]
    for word in ("draining", "59m", "127.0.0.1:44755", "0.1.0", "12", "-", "3"):
        assert word in line.split()


def test_why_is_there_to_the_last_word() -> None:
    """On a second line where it must be."""
    words = " ".join(" ".join(screen(80, INSTANCE)).split())
    for word in ("1/3", "1234.5", "100000", "load:", "for 60 s"):
        assert word in words


def test_last_words_and_mistakes_are_below() -> None:
    """As they are: what an instance prints is no markup."""
    lines = screen(80, CRASHED, problem="blog.toml: services.x: no")
    assert "comments-1 | [/red] why" in lines
    assert lines[-1].startswith("not applied: blog.toml")


def test_who_was_started_elsewhere_has_a_short_name() -> None:
    """Its service and the end of its id."""
    assert any(line.startswith("moderation…543b1a ") for line in screen(80, INSTANCE | {"name": ""}))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (200000, "2d")],
)
def test_ages(seconds: int, shown: str) -> None:
    """In the largest unit that fits."""
    assert age(seconds) == shown


@pytest.mark.parametrize("missing", sorted(INSTANCE))
def test_a_row_of_another_version_hides_no_other(missing: str) -> None:
    """What it does not have is a dash; a number may be text, or huge."""
    odd = {name: value for name, value in INSTANCE.items() if name != missing}
    lines = screen(120, odd, INSTANCE | {"in_flight": "n/a"}, INSTANCE | {"lag": 10**400, "since_s": "x"})
    assert sum("draining" in line or "127.0.0.1:44755" in line for line in lines) == 3


@pytest.mark.parametrize("field", ["name", "version", "address", "state"])
def test_what_others_say_is_text(field: str) -> None:
    """Neither the terminal nor rich obeys it."""
    hostile = "\x1b[2J\x9b\u202e\r\n[red]x[link=file:///]"
    shown = "".join("".join(screen(250, INSTANCE | {field: hostile})).split())
    assert "\\u001b[2J\\u009b\\u202e\\r\\n[red]x[link=file:///]" in shown
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)


def test_what_cannot_be_shown_is_said() -> None:
    """A line for each row that the master passed over."""
    services = {"services": [SERVICE], "problem": "", "passed_over": ["instances: odd\x1b: no"]}
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(_screen([INSTANCE], services, 120))
    assert captured.get().splitlines()[-1] == "not shown: instances: odd\\u001b: no"
