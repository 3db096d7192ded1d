"""The lock of a replica: kept by the kernel, from before the fork until the end."""

import os
import signal
from pathlib import Path

from blog.core.files.lock import is_locked
from blog.master.runtimes import lock as replica_lock
from tests.master.stand_in import SILENT, pid_of, stand_in


def test_a_name_runs_once(tmp_path: Path) -> None:
    """Who holds the lock is known; nobody else gets it; a kill -9 frees it."""
    path = tmp_path / "posts-1.lock"
    with stand_in(path) as process:
        assert is_locked(path)
        assert replica_lock.acquire(path) is None
        assert pid_of(path) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_locked(path)
        assert pid_of(path) is None


def test_it_is_held_before_the_child_can_say_so(tmp_path: Path) -> None:
    """A child that was just forked has its name already, though nobody knows its id yet."""
    path = tmp_path / "posts-1.lock"
    with stand_in(path, SILENT):
        assert is_locked(path)
        assert replica_lock.find_holder(path) is None


def test_the_child_of_a_replica_does_not_hold_it(tmp_path: Path) -> None:
    """What a replica starts itself (the gateway's workers) may outlive it: the name is free anyway."""
    path = tmp_path / "gateway-1.lock"
    started = tmp_path / "child"
    starts = (
        "import pathlib, subprocess, sys; from blog.master.runtimes.lock import claim;"
        " claim(int(sys.argv[1])); child = subprocess.Popen(['sleep', '60'], close_fds=False);"
        f" pathlib.Path({str(started)!r}).write_text(str(child.pid))"
    )
    with stand_in(path, starts) as process:
        process.wait()
        child = int(started.read_text())
        try:
            os.kill(child, 0)
            assert not is_locked(path)
        finally:
            os.kill(child, signal.SIGKILL)


def test_what_the_file_holds_is_nothing(tmp_path: Path) -> None:
    """No process id is taken from the file: one that is written there means nobody."""
    path = tmp_path / "posts-1.lock"
    path.write_text(f'{{"pid": {os.getpid()}')
    assert not is_locked(path)
    assert replica_lock.find_holder(path) is None
