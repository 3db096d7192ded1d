"""A file is written whole or not at all, reaches the disk, and leaves nothing beside it."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from blog.core.files import atomic
from blog.core.files.atomic import replace_durably, sync, write_atomically
from blog.core.files.lock import FileLock


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files and folders that were put on disk, by their names."""
    names: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


@pytest.mark.parametrize(("content", "expected"), [(b"\xff\0", b"\xff\0"), ("é", b"\xc3\xa9"), ("", b"")])
def test_a_file_is_written_and_replaced(tmp_path: Path, content: bytes | str, expected: bytes) -> None:
    """Bytes as they are, text as UTF-8; nothing else is in the folder then."""
    path = tmp_path / "a.json"
    for before in ("", "something longer"):
        path.write_text(before)
        write_atomically(path, content)
        assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_disk_with_its_name(tmp_path: Path, synced: list[str]) -> None:
    """First the content, then the folder; and where that does not matter, nobody waits."""
    write_atomically(tmp_path / "a", "x")
    [content, folder] = synced
    assert content.startswith(".a.")
    assert folder == tmp_path.name
    synced.clear()
    write_atomically(tmp_path / "a", "y", is_durable=False)
    assert synced == []
    assert (tmp_path / "a").read_text() == "y"


def test_it_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    """As any new file has it, or a narrower one; also in the place of a file of another mode."""
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a", "x")
        write_atomically(tmp_path / "b", "x", mode=0o600)
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o600]
        write_atomically(tmp_path / "a", "x", mode=0o600)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("broken", ["fsync", "write"])
def test_an_error_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """And nothing beside it, when the disk is full, say."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", "new")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_replaced_is_an_error(tmp_path: Path) -> None:
    """A folder in its place, or none to be in."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "none" / "a"):
        with pytest.raises(OSError, match=str(path.parent)):
            write_atomically(path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """Of any file in that folder: a run file, say, is never written again under its name."""
    program = (
        "import os, sys; from pathlib import Path; from blog.core.files.atomic import write_atomically\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "write_atomically(Path(sys.argv[1]), 'half')"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "one")]
    assert subprocess.run(words, check=False).returncode == -9
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".one.")
    write_atomically(tmp_path / "other", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_writer_that_is_at_it_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that writes meanwhile does not take it for a leftover; the last to end has its say."""
    really, is_outer = os.fsync, [True]

    def fsync(descriptor: int) -> None:
        if is_outer:
            is_outer.clear()
            write_atomically(tmp_path / "a", "inner")
            assert (tmp_path / "a").read_text() == "inner"
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", "outer")
    assert (tmp_path / "a").read_text() == "outer"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_removed_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may see it in the moment between the two, and take it for a leftover."""
    seen: list[Path] = []

    def interrupted(path: Path, **options: Any) -> FileLock:
        lock = FileLock(path, **options)
        if not seen:
            path.unlink()
        seen.append(path)
        return lock

    monkeypatch.setattr(atomic, "FileLock", interrupted)
    write_atomically(tmp_path / "a", "x")
    assert len(seen) == 2
    assert (tmp_path / "a").read_text() == "x"


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    """Each of them reads nothing but what one of them wrote."""
    path = tmp_path / "a"
    wrong: list[str] = []

    def write(letter: str) -> None:
        for _ in range(30):
            write_atomically(path, letter * 1000, is_durable=False)
            text = path.read_text()
            if len(text) != 1000 or len(set(text)) != 1:
                wrong.append(text)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_built_elsewhere_takes_the_place(tmp_path: Path, synced: list[str]) -> None:
    """Its content is on disk before it has the name, and both folders know of it after."""
    (tmp_path / "to").mkdir()
    (tmp_path / "part").write_text("new")
    (tmp_path / "to" / "a").write_text("old")
    replace_durably(tmp_path / "part", tmp_path / "to" / "a")
    assert (tmp_path / "to" / "a").read_text() == "new"
    assert not (tmp_path / "part").exists()
    assert synced == ["part", "to", tmp_path.name]
    synced.clear()
    sync(tmp_path)
    assert synced == [tmp_path.name]
