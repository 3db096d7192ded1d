"""Work that may do anything is done in a process of its own."""

import subprocess
import sys

import pytest

WAYS = {
    "lambda: {'a': [1, 'b']}": "TaskOutcome(value={'a': [1, 'b']}, failure='')",
    "lambda: print('noise') or 'x' * 300000": "300000",
    "lambda: os._exit(0)": "it ends the process that imports it (exit code 0)",
    "lambda: os._exit(3)": "it ends the process that imports it (exit code 3)",
    "lambda: os.kill(os.getpid(), 11)": "it ends the process that imports it (exit code -11)",
    "lambda: sys.exit(4)": "it ends the process that imports it (exit code 1)",
    "lambda: os.kill(os.getpid(), 9)": "it ends the process that imports it (exit code -9)",
    "lambda: {}['no key']": "KeyError: 'no key'",
    "lambda: int('a' + 'c' * 9999)": "ValueError: invalid literal for int",
    "lambda: exec('raise RuntimeError(\\'a\\\\nb\\')')": "failure='RuntimeError: a b'",
    "lambda: {1}": "TypeError: Object of type set is not JSON serializable",
    "lambda: os.closerange(0, 100)": "it ends the process that imports it",
    "lambda: time.sleep(600)": "it was not imported within",
    "lambda: signal.pause()": "it was not imported within",
    "lambda: subprocess.Popen(['sleep', '1']) and 5": "TaskOutcome(value=5",
    "lambda: threading.Thread(target=time.sleep, args=(600,)).start() or 5": "TaskOutcome(value=5",
}


@pytest.mark.parametrize("work", WAYS)
def test_whatever_it_does_the_process_goes_on(work: str) -> None:
    """It prints, waits, ends the process, or starts others; what came of it is outcome."""
    timeout = 0.5 if "not imported" in WAYS[work] else 30
    code = (
        "import os, signal, subprocess, sys, threading, time\n"
        "from blog.cli.isolated import run_isolated\n"
        f"outcome = run_isolated({work}, {timeout})\n"
        "print(len(outcome.value) if isinstance(outcome.value, str) else outcome)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert WAYS[work] in line
