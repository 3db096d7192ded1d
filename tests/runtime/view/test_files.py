"""The files of a view on disk: which one goes on, one swap, and a crash at any moment."""

import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blog.core.view import View
from blog.eventlog.wire import Head
from blog.runtime.view.files import POSITION, ViewFiles, ViewPosition, position_of, remove
from tests.runtime.garden import LOG, Bed, Wider, names_in

HEAD = Head(LOG, 100)


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ViewFiles]:
    """Give the files of an empty folder."""
    made = ViewFiles(tmp_path)
    yield made
    made.close()


def write(path: Path, view: type[View], applied: int, *, log: str = LOG) -> None:
    """Write a file of `view` in which one seed says how far it is, with a log that is not folded in."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(POSITION + view.schema)
        db.execute("INSERT INTO view_position VALUES (?, ?, ?)", (view.schema_hash(), log, applied))
        db.execute("INSERT INTO seeds VALUES (?)", (f"{view.__name__} {applied}",))
        # what kill -9 leaves behind: the rows are in the write-ahead log only
        kept = {name: path.with_name(path.name + name).read_bytes() for name in ("", "-wal")}
    for name, content in kept.items():
        path.with_name(path.name + name).write_bytes(content)


def test_two_processes_never_share_files_and_numbers_are_reused(tmp_path: Path) -> None:
    """The second takes the next one; a free one is taken again."""
    first, second = ViewFiles(tmp_path), ViewFiles(tmp_path)
    assert (first.current.name, second.current.name) == ("0.db", "1.db")
    first.close()
    third = ViewFiles(tmp_path)
    assert third.current.name == "0.db"
    second.close()
    third.close()


def test_a_position_fits_a_log_that_goes_on_from_it() -> None:
    """The same log, which has all that the rows have."""
    cases = {(LOG, 100): True, (LOG, 0): True, (LOG, 101): False, ("log-2", 1): False}
    assert {case: ViewPosition(*case).fits(HEAD) for case in cases} == cases


places = st.sampled_from(
    [
        None,
        ("Bed", LOG, 10),
        ("Bed", LOG, 50),
        ("Bed", LOG, 101),
        ("Bed", "log-2", 10),
        ("Wider", LOG, 60),
    ]
)


@settings(max_examples=40)  # each writes files
@given(found=st.tuples(places, places, places))
def test_the_furthest_file_that_fits_goes_on(
    found: tuple[tuple[str, str, int] | None, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever lies there; where none fits it is a new one. The file that is read is never touched."""
    files = ViewFiles(tmp_path_factory.mktemp("view"))
    paths = (files.current, files.building, files.previous)
    for path, what in zip(paths, found, strict=True):
        if what is not None:
            write(path, Bed if what[0] == "Bed" else Wider, what[2], log=what[1])
    fitting = [what[2] for what in found if what and what[:2] == ("Bed", LOG) and what[2] <= 100]
    before = names_in(files.current)
    chosen = files.choose(Bed.schema_hash(), HEAD)
    at = position_of(chosen, Bed.schema_hash())
    assert (at.applied if at else None) == max(fitting, default=None)
    assert names_in(files.current) == before
    assert chosen in (files.current, files.building)
    assert at is not None or not chosen.exists()
    files.close()


def test_what_is_no_view_is_none(files: ViewFiles) -> None:
    """An empty file, one of other bytes, one without a row in its position."""
    files.building.write_bytes(b"")
    files.previous.write_bytes(b"no database at all" * 100)
    with closing(sqlite3.connect(files.current)) as db:
        db.executescript(POSITION + Bed.schema)
    for path in (files.current, files.building, files.previous, files.current.with_name("none.db")):
        assert position_of(path, Bed.schema_hash()) is None
    assert files.choose(Bed.schema_hash(), HEAD) == files.building


def test_a_swap_keeps_the_file_of_the_schema_before(files: ViewFiles) -> None:
    """So that the older program finds its file: one, and only of another schema."""
    write(files.current, Wider, 7)
    write(files.building, Bed, 50)
    files.swap(Bed.schema_hash())
    assert names_in(files.current) == ["Bed 50"]
    assert names_in(files.previous) == ["Wider 7"]
    write(files.building, Bed, 60)
    files.swap(Bed.schema_hash())
    assert names_in(files.current) == ["Bed 60"]
    assert names_in(files.previous) == ["Wider 7"]
    assert files.choose(Wider.schema_hash(), HEAD) == files.building
    assert names_in(files.building) == ["Wider 7"]


def test_a_broken_file_makes_way(files: ViewFiles) -> None:
    """There is nothing in it to go back to, and its log is not taken for the new file's."""
    files.current.write_bytes(b"no database at all" * 100)
    write(files.building, Bed, 50)
    files.swap(Bed.schema_hash())
    assert names_in(files.current) == ["Bed 50"]
    assert names_in(files.previous) is None


@pytest.mark.parametrize("old", [Wider, Bed])
def test_a_crash_at_any_moment_of_a_swap_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: type[View]
) -> None:
    """The new one goes on where it was, and the old one is there until the new one is in its place."""
    for moment in range(100):
        files = ViewFiles(tmp_path / str(moment))
        write(files.current, old, 7)
        write(files.building, Bed, 50)
        with monkeypatch.context() as patched:
            _crash_at(moment, patched)
            is_done = _swapped(files)
        files.close()
        again = ViewFiles(tmp_path / str(moment))
        found = [names_in(path) for path in (again.current, again.previous)]
        assert ["Bed 50"] in found or [f"{old.__name__} 7"] in found
        chosen = again.choose(Bed.schema_hash(), HEAD)
        assert names_in(chosen) == ["Bed 50"]
        if chosen != again.current:
            again.swap(Bed.schema_hash())
        assert names_in(again.current) == ["Bed 50"]
        assert names_in(again.previous) == (["Wider 7"] if old is Wider else None)
        again.close()
        if is_done:
            assert moment >= 4
            return


def _swapped(files: ViewFiles) -> bool:
    try:
        files.swap(Bed.schema_hash())
    except Crash:
        return False
    return True


def _crash_at(moment: int, patched: pytest.MonkeyPatch) -> None:
    """Let the process end before the nth thing that it does to a file."""
    left = iter([None] * moment)
    for owner, name in [(Path, "replace"), (Path, "unlink"), (sqlite3, "connect")]:
        real = getattr(owner, name)

        def counted(*args: object, _real: object = real, **kwargs: object) -> object:
            if next(left, left) is left:
                raise Crash
            assert callable(_real)
            return _real(*args, **kwargs)

        patched.setattr(owner, name, counted)


def test_the_log_of_a_file_that_is_gone_is_not_taken_for_anothers(files: ViewFiles) -> None:
    """SQLite would play it into whatever has the name later."""
    write(files.current, Wider, 7)
    files.current.unlink()
    write(files.building, Bed, 50)
    files.swap(Bed.schema_hash())
    assert names_in(files.current) == ["Bed 50"]


def test_leftovers_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """Snapshots that were under way, half built files that nobody can go on with."""
    files = ViewFiles(tmp_path)
    for path in (files.incoming, files.outgoing, files.building):
        path.write_bytes(b"half")
    write(files.current, Bed, 10)
    files.close()
    files = ViewFiles(tmp_path)
    assert files.choose(Bed.schema_hash(), HEAD) == files.current
    assert {path.name for path in tmp_path.glob("*.db")} == {"0.db"}
    remove(files.current)
    assert not list(tmp_path.glob("0.db*"))
    files.close()


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere") / "x")


@pytest.mark.parametrize("name", ["0.lock", "0.db", "0.db-wal", "0.building.db", "0.previous.db"])
@pytest.mark.parametrize("put", [_folder, _link_to_nowhere])
def test_a_number_with_what_is_no_file_of_ours_is_passed_over(
    name: str, put: Callable[[Path], None], tmp_path: Path
) -> None:
    """Nothing of it is removed: the next number is free."""
    put(tmp_path / name)
    with closing(ViewFiles(tmp_path)) as files:
        assert files.current.name == "1.db"
        with closing(ViewFiles(tmp_path)) as second:
            assert second.current.name == "2.db"
    assert os.path.lexists(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("name", ["0.lock", "0.db", "0.db-shm"])
def test_a_number_of_another_user_is_passed_over(name: str) -> None:
    """A view that root has built cannot be written by the user who runs the service now."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        theirs = Path(folder, name)
        theirs.write_text("")
        for mode in (0o600, 0o644):
            theirs.chmod(mode)
            code = (
                "import os, sys; from pathlib import Path\n"
                "from blog.runtime.view.files import ViewFiles\n"
                "os.setgroups([]); os.setuid(54321); print(ViewFiles(Path(sys.argv[1])).current.name)"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
            )
            assert done.stdout == "1.db\n"


def test_without_locks_no_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and does not look for a number that is free for ever."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        ViewFiles(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.lock"]
