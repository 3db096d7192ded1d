"""Lines of a log: they matter less than what they are about."""

import errno
import io
import json
import logging
import os
from typing import Any

import pytest

from blog.core.logs import EscapingFormatter, LogOutput, configure, get_logger

HOSTILE = [
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x7f", "a\rb", "a\nb", "\u202e\u2066\u200f\u061c",
    "\u2028\u2029", "\ud800", "\U000e0041",
]  # fmt: skip
UNSAFE = set("".join(HOSTILE)) - set("[2J]0;title31mab") - {"\n"}


class Odd:
    """A value that shows itself as it likes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        """Show it."""
        return self.text


class FullDisk(io.StringIO):
    """A file of a disk that is full."""

    def write(self, text: str) -> int:
        """Have no room."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Have no room."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs does not notice."""
    monkeypatch.setattr("sys.stdout", FullDisk())
    with pytest.raises(OSError, match="No space"):
        print("no room")
    configure()
    get_logger().info("disk.filled")


def test_lines_arrive(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is room."""
    lines = LogOutput(io.StringIO())
    lines.write("lost with its file\n")
    configure(log_format="json")
    get_logger().info("disk.emptied")
    assert '"event": "disk.emptied"' in capsys.readouterr().out


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("shape", [str, lambda text: [text], lambda text: {text: text}, Odd])
def test_what_others_wrote_is_escaped(
    capsys: pytest.CaptureFixture[str], log_format: str, text: str, shape: Any
) -> None:
    """In a value of any shape, in the event itself and in an error, and all of it is one line."""
    configure(log_format=log_format)
    get_logger().info(f"x.y{text}", value=shape(text), number=1)
    shown = capsys.readouterr().out
    assert not UNSAFE & set(shown)
    assert shown.count("\n") == 1
    get_logger().error("x.failed", exc_info=ValueError(text))
    assert not UNSAFE & set(capsys.readouterr().out)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_has_the_same_data(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Escaped, not left out; what people can read stays as it is."""
    configure(log_format="json")
    get_logger().info("x.y", value=text, name="é 漢 👩‍💻")
    shown = capsys.readouterr().out
    line = json.loads(shown)
    assert (line["value"], line["name"]) == (text, "é 漢 👩‍💻")
    assert "é 漢 👩‍💻" in shown


def test_only_a_terminal_has_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are ours, there; in a file they would be escapes that `blog logs` shows."""
    configure(log_format="console")
    get_logger().info("x.y")
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    configure(log_format="console")
    get_logger().info("x.y", value="\x1b[5m")
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert "\x1b[5m" not in shown


def test_what_libraries_log_is_escaped() -> None:
    """They use the standard library, whose last resort is stderr."""
    configure()
    assert logging.lastResort is not None
    formatter = logging.lastResort.formatter
    assert isinstance(formatter, EscapingFormatter)
    record = logging.LogRecord("aiohttp", logging.ERROR, "", 0, "%s", ("\x1b[2J\u202e",), None)
    assert formatter.format(record) == "\\u001b[2J\\u202e"
