"""A lock is had at once or not at all, and its holder's end frees it."""

import errno
import fcntl
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blog.core.files.atomic import write_atomically
from blog.core.files.lock import FileLock, LockedError, is_locked, lock_for_life


def test_one_holder_keeps_others_out(tmp_path: Path) -> None:
    """Until it gives it back; the error names the file."""
    path = tmp_path / "lock"
    with FileLock(path) as lock:
        assert repr(lock) == f"<FileLock {path}, held>"
        for shared in (False, True):
            with pytest.raises(LockedError, match="lock is locked") as caught:
                FileLock(path, shared=shared)
            assert caught.value.path == path
    assert repr(lock) == f"<FileLock {path}, released>"
    lock.close()
    FileLock(path).close()


def test_shared_locks_go_together(tmp_path: Path) -> None:
    """And keep an exclusive one out."""
    with FileLock(tmp_path / "lock", shared=True), FileLock(tmp_path / "lock", shared=True):
        with pytest.raises(LockedError):
            FileLock(tmp_path / "lock")
        assert not is_locked(tmp_path / "lock")


def test_whether_it_is_held_can_be_asked(tmp_path: Path) -> None:
    """Without making a file, and without keeping others from asking."""
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()
    with FileLock(path):
        assert is_locked(path)
    assert not is_locked(path)
    with FileLock(path, shared=True):
        assert not is_locked(path)


def test_what_is_locked_out_leaves_no_descriptor(tmp_path: Path) -> None:
    """Somebody who tries every second runs out of none."""
    with FileLock(tmp_path / "lock"):
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with pytest.raises(LockedError):
                FileLock(tmp_path / "lock")
            is_locked(tmp_path / "lock")
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_new_file_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    """What is in a file that is there already stays, and so does its mode."""
    before = os.umask(0o022)
    try:
        FileLock(tmp_path / "a").close()
        FileLock(tmp_path / "b", mode=0o600).close()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"]
    assert modes == [0o644, 0o600]
    (tmp_path / "b").write_text("kept")
    FileLock(tmp_path / "b").close()
    assert (tmp_path / "b").read_text() == "kept"


def test_a_file_that_cannot_be_opened_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Nobody holds it: that is another thing than being locked out."""
    for path in (tmp_path, tmp_path / "none" / "lock"):
        with pytest.raises(OSError, match=str(path)):
            FileLock(path)


def test_a_child_has_the_lock_only_with_its_descriptor(tmp_path: Path) -> None:
    """Passed on, it is held until the last process that has it ends; any other child has nothing."""
    path = tmp_path / "lock"
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    lock = FileLock(path)
    with subprocess.Popen(waits, stdin=subprocess.PIPE):
        lock.close()
        assert not is_locked(path)
    descriptor = FileLock(path).detach()
    with subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=(descriptor,)):
        os.close(descriptor)
        assert is_locked(path)
    assert not is_locked(path)


def test_one_for_life_ends_with_its_process(tmp_path: Path) -> None:
    """No object keeps it; the kernel frees it however the process ends."""
    program = (
        "import gc, sys; from pathlib import Path; from blog.core.files.lock import lock_for_life\n"
        "lock_for_life(Path(sys.argv[1]), mode=0o600); gc.collect(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    path = tmp_path / "lock"
    words = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            lock_for_life(path)
        process.kill()
    assert not is_locked(path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_an_error_where_the_lock_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Two writers of a log would be its end; a file that is replaced as a whole needs no lock."""

    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        FileLock(tmp_path / "lock")
    assert caught.value.filename == str(tmp_path / "lock")
    FileLock(tmp_path / "lock", is_required=False).close()
    write_atomically(tmp_path / "file", "content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "lock"]
