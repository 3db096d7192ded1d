"""A service runs, whatever is wrong with its data directory."""

import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.errors import SettingsError
from blog.runtime.view.folder import view_folder, what_is_wrong


def _file(path: Path) -> Path:
    path.write_text("")
    return path


def _below_a_file(path: Path) -> Path:
    return _file(path) / "data"


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _dangling(path: Path) -> Path:
    path.symlink_to(path / "nowhere")
    return path


def _service_is_a_file(path: Path) -> Path:
    path.mkdir()
    _file(path / "comments")
    return path


WAYS: dict[str, Callable[[Path], Path]] = {
    "a file": _file,
    "below a file": _below_a_file,
    "a loop of links": _loop,
    "a link to nowhere": _dangling,
    "a name that is too long": lambda path: path / ("x" * 300),
    "a path that is too long": lambda path: path.joinpath(*["x" * 200] * 30),
    "below /proc": lambda _: Path("/proc/nothing/here"),
    "a file in the place of its folder": _service_is_a_file,
}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder for temporary ones."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def test_one_that_can_be_written_is_taken(tmp_path: Path) -> None:
    """It is made, nothing else is left in it, and nothing is said."""
    with capture_logs() as logs:
        async with view_folder(tmp_path / "data", "comments") as folder:
            assert folder == tmp_path / "data" / "comments"
            assert list(folder.iterdir()) == []
    assert logs == []


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_cannot_be_written_is_replaced(way: str, tmp_path: Path, temporary: Path) -> None:
    """By a temporary folder, as long as the instance runs; that is said once."""
    data_dir = WAYS[way](tmp_path / "data")
    with capture_logs() as logs:
        async with view_folder(data_dir, "comments") as folder:
            assert folder.parent == temporary
            assert what_is_wrong(folder) is None
    assert os.listdir(temporary) == []  # noqa: PTH208
    [line] = [entry for entry in logs if entry["event"] == "data_dir.fallback"]
    assert line["path"] == str(data_dir / "comments")
    assert line["reason"]


async def test_a_file_system_without_a_write_ahead_log_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems cannot share memory."""

    def connect(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("locking protocol")

    monkeypatch.setattr(sqlite3, "connect", connect)
    async with view_folder(tmp_path / "data", "comments") as folder:
        assert folder != tmp_path / "data" / "comments"


async def test_a_file_system_without_locks_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have none; two instances must not take the same file."""
    flock = fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(tmp_path / "data"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with capture_logs() as logs:
        async with view_folder(tmp_path / "data", "comments") as folder:
            assert folder != tmp_path / "data" / "comments"
    assert [line["reason"] for line in logs] == ["its file system has no locks"]


async def test_without_any_place_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the directory that was asked for."""
    (tmp_path / "data").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "data" / "tmp"))
    with pytest.raises(SettingsError, match=r"BLOG_DATA_DIR=.*not a folder"):
        async with view_folder(tmp_path / "data", "comments"):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_users_folder_is_not_ours(tmp_path: Path) -> None:
    """It belongs to root and may only be read."""
    code = (
        "from pathlib import Path; import sys; from blog.runtime.view.folder import what_is_wrong\n"
        "import os; os.setgroups([]); os.setuid(54321)\n"
        "print(repr(what_is_wrong(Path(sys.argv[1]))))"
    )
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("PermissionError")
