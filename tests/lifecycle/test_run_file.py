"""Run files: there while an instance runs, passed over after it was killed."""

import os
from pathlib import Path

import pytest

from blog.core.ids import new_id
from blog.lifecycle.run_file import RunFile, living, run_file


def test_it_is_there_as_long_as_the_instance(tmp_path: Path) -> None:
    """Written at the beginning, gone at the end."""
    with run_file(tmp_path, "posts-1", "0.0.0.0:8000"):
        assert [(item.id, item.address, item.pid) for item in living(tmp_path)] == [
            ("posts-1", "0.0.0.0:8000", os.getpid())
        ]
    assert living(tmp_path) == []


def test_the_killed_and_those_of_other_machines_are_passed_over(tmp_path: Path) -> None:
    """As are half a file, and a process with the pid of a killed one; the next instance tidies up."""
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        mine = RunFile.mine("posts-1", "127.0.0.1:8000")
        folder = tmp_path / "run" / "instances"
        killed = mine.model_copy(update={"id": "posts-2", "pid": 2**22 + 1})
        other = mine.model_copy(update={"id": "posts-3", "host": "elsewhere"})
        for item in (killed, other):
            (folder / f"{item.id}.json").write_text(item.model_dump_json())
        (folder / "posts-4.json").write_text('{"id": ')
        later = mine.model_copy(update={"id": "posts-5", "began": "1"})
        (folder / "posts-5.json").write_text(later.model_dump_json())
        assert living(tmp_path) == [mine]
    with run_file(tmp_path, "posts-6", "127.0.0.1:8000"):
        assert sorted(path.stem for path in folder.iterdir()) == ["posts-3", "posts-4", "posts-6"]


def test_an_instance_that_may_not_write_runs_all_the_same(tmp_path: Path) -> None:
    """A read-only or full disk is no reason not to serve."""
    (tmp_path / "run").write_text("a file where a folder should be")
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        assert living(tmp_path) == []


@pytest.mark.parametrize(
    ("service", "others"), [("posts", ("posts-archive", "my-posts")), ("bus", ("bus-tracker",))]
)
def test_it_knows_its_service(service: str, others: tuple[str, ...]) -> None:
    """The whole name: one may begin with another's."""
    for name in (service, *others):
        assert RunFile.mine(f"{name}-{new_id()}", "127.0.0.1:1").service == name


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("0.0.0.0:8000", "127.0.0.1:8000"),
        ("[::]:8000", "[::1]:8000"),
        ("10.0.0.0:8000", "10.0.0.0:8000"),
        ("[fd00::]:8000", "[fd00::]:8000"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_one_that_listens_everywhere_is_dialled_at_the_loopback_address(address: str, own: str) -> None:
    """Other addresses, also those that end the same, stay what they are."""
    assert RunFile.mine("posts-1", address).own_address == own
