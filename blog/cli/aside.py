"""Aside: work done in a process of its own, because what it loads may print, wait for ever or end it."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE = 20.0
"""Seconds that the work has."""


class Told(NamedTuple):
    """What came of it: a value, or why there is none."""

    value: Any
    failure: str


def aside(work: Callable[[], Any], patience: float = PATIENCE) -> Told:
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
        line = _line(heard, child, time.monotonic() + patience)
    finally:
        os.close(heard)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if line.endswith(b"\n"):
        return Told(json.loads(line), "")
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return Told(None, f"it was not imported within {patience:g} s")
    return Told(None, f"it ends the process that imports it (exit code {code})")


def _work_and_end(work: Callable[[], Any], told: int) -> None:
    """Live in the child: say what came of it, and run nothing of what this process does at its end."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        line = json.dumps(work()).encode() + b"\n"
        while line:
            line = line[os.write(told, line) :]
        code = 0
    finally:
        os._exit(code)


def _line(heard: int, child: int, ends: float) -> bytes:
    """Read a line; what there is of it when the child or the time ends."""
    line = b""
    while not line.endswith(b"\n") and (left := ends - time.monotonic()) > 0:
        if select.select([heard], [], [], left)[0]:
            part = os.read(heard, 1 << 16)
            if not part:
                _let_end(child, ends)  # it is about to: once it is killed, nobody knows how it did
                break
            line += part
    return line


def _let_end(child: int, ends: float) -> None:
    """Wait until the child has ended by itself."""
    look = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while time.monotonic() < ends and os.waitid(os.P_PID, child, look) is None:
        time.sleep(0.01)
