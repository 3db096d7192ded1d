"""What commands print is escaped where it is written."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from blog.core.output import pass_on, say, say_json, say_lines

HOSTILE = "\x1b[2J\x9b\u202e\u2028\x7f\ud800\r"
ESCAPED = "\\u001b[2J\\u009b\\u202e\\u2028\\u007f\\ud800\\r"


@pytest.mark.parametrize("sink", [say, say_lines])
@pytest.mark.parametrize("err", [False, True])
def test_a_line(sink: Callable[..., None], err: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    """On stdout or stderr."""
    sink(f"a {HOSTILE}", err=err)
    shown = capsys.readouterr()
    assert (shown.err, shown.out)[not err] == f"a {ESCAPED}\n"


def test_one_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream of lines has its own."""
    say("a\nblog: all is well")
    say_lines("a\nb")
    pass_on("c\nd")
    assert capsys.readouterr().out == "a\\nblog: all is well\na\nb\nc\nd"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_has_the_same_data(indent: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it."""
    say_json({HOSTILE: [HOSTILE]}, indent=indent)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert json.loads(shown) == {HOSTILE: [HOSTILE]}


def test_the_traceback_of_an_error_that_ends_a_process() -> None:
    """It quotes what others sent."""
    raises = "raise ValueError('\\x1b[2J\\u202e')"
    code = f"from blog.core.output import write_escaped_tracebacks as w; w(); {raises}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: \\u001b[2J\\u202e\n")
    assert "\x1b" not in done.stderr
