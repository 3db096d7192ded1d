"""Checkouts: the code of an earlier commit beside this one; processes are started from either.

They need a clone with history, and nothing of them is left.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.fleet import ROOT

RELEASED = "e356a0a2f38fad688e2fad13e01a95a75cf8c65b"
"""The last commit of 0.1.0: what an upgrade to 0.14.0 begins with."""
BEFORE = "5ff63e6cc169ea10324acb2058dba4ee7637cf08"
"""The last commit whose sessions have no protocol version, and end at an unknown message."""


class Checkouts(NamedTuple):
    """Where the code of both is."""

    old: Path
    new: Path


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Checkouts]:
    """Check `commit` out to `folder` while the body runs.

    In a clone that lacks it the test is skipped; it fails where BLOG_CHAOS_ROUNDS asks for all of them.
    """
    if git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        say = pytest.fail if "BLOG_CHAOS_ROUNDS" in os.environ else pytest.skip
        say(f"this clone does not have the commit {commit[:7]}: a shallow one, or no clone")
    added = git("worktree", "add", "--detach", str(folder), commit)
    assert added.returncode == 0, added.stderr
    try:
        for checkout in (folder, ROOT):
            assert imported(checkout) == checkout / "blog"
        yield Checkouts(folder, ROOT)
    finally:
        removed = git("worktree", "remove", "--force", str(folder))
        assert removed.returncode == 0, removed.stderr


def git(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run git in this clone."""
    return subprocess.run(["git", "-C", str(ROOT), *words], check=False, capture_output=True, text=True)


def imported(checkout: Path) -> Path:
    """Return where Python finds the code when it is told to take this checkout's."""
    command = [sys.executable, "-c", "import blog; print(*blog.__path__)"]
    environ = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environ, cwd="/", check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())
