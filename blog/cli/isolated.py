"""Isolated work, in a process of its own: what it imports may print, block for ever or exit."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from blog.runtime.catalog import message

TIMEOUT = 20.0
"""Seconds that the work may take."""


class TaskOutcome(NamedTuple):
    """The value, or why there is none."""

    value: Any
    failure: str


def run_isolated(work: Callable[[], Any], timeout: float = TIMEOUT) -> TaskOutcome:
    """Do `work` in a fork of this process; its result must be valid JSON, its output is discarded.

    Only for a process without threads, such as a command.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_exit(work, sending)
    os.close(sending)
    try:
        line, is_late = _line(receiving, child, time.monotonic() + timeout)
    finally:
        os.close(receiving)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if line.endswith(b"\n"):
        return TaskOutcome(**json.loads(line))
    if is_late:
        return TaskOutcome(None, f"it was not imported within {timeout:g} s")
    code = os.waitstatus_to_exitcode(status)
    return TaskOutcome(None, f"it ends the process that imports it (exit code {code})")


def _work_and_exit(work: Callable[[], Any], sending: int) -> None:
    """Run in the child: send the outcome, and skip what this process does at its exit."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        line = _outcome(work).encode() + b"\n"
        while line:
            line = line[os.write(sending, line) :]
        code = 0
    finally:
        os._exit(code)


def _outcome(work: Callable[[], Any]) -> str:
    """Do the work; return its value, or what it raised, as JSON."""
    try:
        return json.dumps({"value": work(), "failure": ""})
    except Exception as error:  # noqa: BLE001 - whatever the work raises is its outcome
        return json.dumps({"value": None, "failure": f"{type(error).__name__}{message(error)}"})


def _line(receiving: int, child: int, ends: float) -> tuple[bytes, bool]:
    """Read a line, or a part of it when the child ends before; and return whether it took too long."""
    line = b""
    while not line.endswith(b"\n"):
        left = ends - time.monotonic()
        if left <= 0:
            return line, True
        if select.select([receiving], [], [], left)[0]:
            part = os.read(receiving, 1 << 16)
            if not part:
                # it is about to exit; how it does is lost once it is killed
                return line, not _has_ended(child, ends)
            line += part
    return line, False


def _has_ended(child: int, ends: float) -> bool:
    """Wait until the child has ended by itself; return False if it takes too long."""
    look = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, child, look) is None:
        if time.monotonic() >= ends:
            return False
        time.sleep(0.01)
    return True
