"""What is said of a data directory that cannot be used: the path, the user, why, and what to do."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.core.files.data_dir import needed, reason, unusable


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "Permission denied"),
        (errno.EPERM, "Operation not permitted"),
        (errno.EROFS, "mount it so that it can be written"),
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EEXIST, "not a folder"),
        (errno.ENOTDIR, "not a folder"),
        (errno.EISDIR, "a folder is in the place of a file"),
        (errno.ELOOP, "round in a circle"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ENOENT, "No such file"),
    ],
)
def test_every_way_is_one_line_that_says_what_to_do(number: int, says: str) -> None:
    """With where it is and who was refused."""
    error = OSError(number, os.strerror(number), "/data/bus")
    detail = unusable(Path("/data"), Path("/data/bus"), error).detail
    assert says in detail
    assert detail.startswith("BLOG_DATA_DIR=/data: /data/bus cannot be used by user ")
    assert "set another BLOG_DATA_DIR" in detail
    assert "\n" not in detail


def test_one_who_is_refused_learns_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be given away, or somebody else can run it."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    error = PermissionError(errno.EACCES, "Permission denied")
    detail = unusable(tmp_path, tmp_path / "not" / "there", error).detail
    owner = tmp_path.stat().st_uid
    assert f"`chown -R 54321 {tmp_path}`, run as user {owner} (`--user {owner}`)" in detail


def test_a_database_that_is_broken_is_restored(tmp_path: Path) -> None:
    """Another directory would hide the log."""
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError) as caught, sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("SELECT * FROM sqlite_master")
    db.close()
    assert "blog log restore" in unusable(tmp_path, tmp_path / "log.db", caught.value).detail


def test_an_error_without_words_has_a_name() -> None:
    """There is always a reason."""
    assert reason(PermissionError()) == "PermissionError"


@pytest.mark.parametrize("name", ["/data/x", b"/data/x"])
def test_what_is_needed_names_the_file(name: str | bytes) -> None:
    """Whoever opened it, however it was called; without a name it is the directory."""
    with pytest.raises(SettingsError, match="/data: /data/x cannot be used"), needed(Path("/data")):
        raise PermissionError(errno.EACCES, "Permission denied", name)
    with pytest.raises(SettingsError, match="/data: /data cannot be used"), needed(Path("/data")):
        raise PermissionError(errno.EACCES, "Permission denied")
