"""Run files: there while an instance runs, passed over after it was killed."""

import json
import os
from pathlib import Path

import pytest

from blog.lifecycle.local_instances import running, spare_dir
from blog.lifecycle.run_file import RunFile, run_file


def test_it_is_there_as_long_as_the_instance(tmp_path: Path) -> None:
    """Written at the beginning, gone at the end."""
    with run_file(tmp_path, "posts-1", "0.0.0.0:8000"):
        [item] = running(str(tmp_path))
        assert (item.id, item.address, item.was_ready) == ("posts-1", "0.0.0.0:8000", False)
    assert running(str(tmp_path)) == []


def test_the_killed_and_those_of_other_machines_are_passed_over(tmp_path: Path) -> None:
    """As are half a file, and a process with the pid of a killed one; the next instance tidies up."""
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        mine = RunFile.of_this_process("posts-1", "127.0.0.1:8000")
        folder = tmp_path / "run" / "instances"
        killed = mine.model_copy(update={"id": "posts-2", "pid": 2**22 + 1})
        other = mine.model_copy(update={"id": "posts-3", "host": "elsewhere"})
        for item in (killed, other):
            (folder / f"{item.id}.json").write_text(item.model_dump_json())
        (folder / "posts-4.json").write_text('{"id": ')
        later = mine.model_copy(update={"id": "posts-5", "began": "1"})
        (folder / "posts-5.json").write_text(later.model_dump_json())
        assert [item.id for item in running(str(tmp_path))] == [mine.id]
    with run_file(tmp_path, "posts-6", "127.0.0.1:8000"):
        assert sorted(path.stem for path in folder.iterdir()) == ["posts-3", "posts-4", "posts-6"]


def test_only_what_was_left_behind_is_removed(tmp_path: Path) -> None:
    """Whatever a file says of others, and whatever else it holds."""
    folder = tmp_path / "run" / "instances"
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        mine = RunFile.of_this_process("posts-1", "127.0.0.1:8000")
        killed = mine.model_copy(update={"pid": 2**22 + 1}).model_dump()
        for name, told in {
            "says-it-is-posts-1": killed,
            "of-a-newer-version": killed | {"address": "unix:/x", "id": "?", "more": [1]},
            "odd": killed | {"pid": "1"},
            "elsewhere": killed | {"host": 1},
            "without": {"host": killed["host"]},
            "list": [1],
        }.items():
            (folder / f"{name}.json").write_text(json.dumps(told))
        (folder / "deep.json").write_text("[" * 16_000)
        os.mkfifo(folder / "pipe.json")
        with run_file(tmp_path, "posts-2", "127.0.0.1:8001"):
            left = {path.stem for path in folder.iterdir()}
        assert left == {"posts-1", "posts-2", "odd", "elsewhere", "without", "list", "deep", "pipe"}


def test_an_instance_that_may_not_write_runs_all_the_same(tmp_path: Path) -> None:
    """A read-only or full disk is no reason not to serve."""
    (tmp_path / "run").write_text("a file where a folder should be")
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        assert not (tmp_path / "run").is_dir()


def test_one_that_may_not_write_there_writes_to_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe finds it all the same, and nothing is left at the end."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "data").write_text("a file where a folder should be")
    with run_file(tmp_path / "data", "posts-1", "127.0.0.1:8000") as written:
        written.mark_ready()
        [found] = running(str(tmp_path / "data"))
        assert (found.id, found.was_ready) == ("posts-1", True)
        assert running(str(tmp_path / "other")) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_another_user_made_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made the folder could put another address in its place."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "data").write_text("")
    spare = Path(spare_dir(str(tmp_path / "data")))
    spare.mkdir()
    spare.chmod(0o777)
    with run_file(tmp_path / "data", "posts-1", "127.0.0.1:8000") as written:
        assert written.path is None
        written.mark_ready()
        assert list(spare.iterdir()) == []
