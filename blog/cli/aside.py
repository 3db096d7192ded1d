"""Aside: work done in a process of its own, because what it loads may print, wait for ever or end it."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from blog.runtime.catalog import message

PATIENCE = 20.0
"""Seconds that the work has."""


class TaskOutcome(NamedTuple):
    """What came of it: a value, or why there is none."""

    value: Any
    failure: str


def aside(work: Callable[[], Any], patience: float = PATIENCE) -> TaskOutcome:
    """Do `work`, whose result JSON can hold, in a fork of this process; its output goes nowhere.

    For a process without threads, as a command is.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_end(work, told)
    os.close(told)
    try:
        line, is_late = _line(heard, child, time.monotonic() + patience)
    finally:
        os.close(heard)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if line.endswith(b"\n"):
        return TaskOutcome(**json.loads(line))
    if is_late:
        return TaskOutcome(None, f"it was not imported within {patience:g} s")
    code = os.waitstatus_to_exitcode(status)
    return TaskOutcome(None, f"it ends the process that imports it (exit code {code})")


def _work_and_end(work: Callable[[], Any], told: int) -> None:
    """Live in the child: say what came of it, and run nothing of what this process does at its end."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        line = _outcome(work).encode() + b"\n"
        while line:
            line = line[os.write(told, line) :]
        code = 0
    finally:
        os._exit(code)


def _outcome(work: Callable[[], Any]) -> str:
    """Do the work; say what came of it, or what it raised."""
    try:
        return json.dumps({"value": work(), "failure": ""})
    except Exception as error:  # noqa: BLE001 - whatever the work raises is what there is to say
        return json.dumps({"value": None, "failure": f"{type(error).__name__}{message(error)}"})


def _line(heard: int, child: int, ends: float) -> tuple[bytes, bool]:
    """Read a line, or what there is of it when the child ends; say whether the time was over before."""
    line = b""
    while not line.endswith(b"\n"):
        left = ends - time.monotonic()
        if left <= 0:
            return line, True
        if select.select([heard], [], [], left)[0]:
            part = os.read(heard, 1 << 16)
            if not part:
                # it is about to: once it is killed, nobody knows how it did
                return line, not _has_ended(child, ends)
            line += part
    return line, False


def _has_ended(child: int, ends: float) -> bool:
    """Wait until the child has ended by itself; return false when the time is over before."""
    look = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, child, look) is None:
        if time.monotonic() >= ends:
            return False
        time.sleep(0.01)
    return True
