"""What runs here, read from files that may hold anything."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blog.core.ids import new_id
from blog.lifecycle.local_instances import (
    LocalInstance,
    began,
    folder_in,
    is_ours,
    read,
    running,
    spare_dir,
)
from blog.lifecycle.run_file import RunFile, run_file

MINE = {
    "id": "posts-1", "address": "127.0.0.1:8000", "host": socket.gethostname(), "pid": os.getpid(),
    "began": began(os.getpid()),
}  # fmt: skip


def written(folder: Path, content: bytes) -> Path:
    """Save a run file."""
    path = folder / "posts-1.json"
    path.write_bytes(content)
    return path


def test_it_reads_what_an_instance_writes(tmp_path: Path) -> None:
    """Both know the same format."""
    with run_file(tmp_path, "posts-1", "[::]:8000") as mine:
        [found] = running(str(tmp_path))
        assert (found.id, found.address, found.was_ready) == ("posts-1", "[::]:8000", False)
        mine.mark_ready()
        [found] = running(str(tmp_path))
        assert found.was_ready
    assert running(str(tmp_path)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../x"}, {"id": "a\nb"}, {"id": 1}, {"id": ""}, {"id": "x" * 200}, {"id": None},
        {"address": "127.0.0.1"}, {"address": "127.0.0.1:99999"}, {"address": "a b:1"},
        {"address": ["h:1"]},
        {"address": "h:1\r\nX: y:2"}, {"address": "h:\u0661"},
        {"host": "elsewhere"}, {"host": None},
        {"pid": 0}, {"pid": -1}, {"pid": True}, {"pid": 2**70}, {"pid": "1"}, {"pid": 1.0}, {"pid": None},
        {"began": "1"}, {"began": ""}, {"began": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_describes_no_process_of_here_is_passed_over(change: dict[str, Any], tmp_path: Path) -> None:
    """A killed one, one elsewhere, a later process with its id, or nonsense."""
    assert read(str(written(tmp_path, json.dumps(MINE).encode()))) is not None
    assert read(str(written(tmp_path, json.dumps(MINE | change).encode()))) is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b'{"id": "posts-1", "addr', b"[]", b"null", b'"x"', b"7", b"\xff\xfe\x00", b"\x00" * 100,
        b"[" * 10000, b"{" * 10000, b'{"pid": ' + b"9" * 10000 + b"}", json.dumps(MINE).encode() + b"}",
        json.dumps(MINE | {"more": "x" * (64 << 10)}).encode(),
    ],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
def test_what_is_no_run_file_is_passed_over(content: bytes, tmp_path: Path) -> None:
    """Half of one, none at all, or far too much."""
    assert read(str(written(tmp_path, content))) is None


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder, a link to nothing, a device: the next one is read."""
    folder = Path(folder_in(str(tmp_path)))
    folder.mkdir(parents=True)
    os.mkfifo(folder / "a.json")
    (folder / "b.json").mkdir()
    (folder / "c.json").symlink_to(tmp_path / "nowhere")
    (folder / "d.json").symlink_to("/dev/zero")
    (folder / "e.json").symlink_to("e.json")
    with run_file(tmp_path, "posts-1", "127.0.0.1:8000"):
        assert [item.id for item in running(str(tmp_path))] == ["posts-1"]


def test_what_another_user_may_have_put_there_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary folder is everybody's: a place in it counts only if it is private."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "data").write_text("in the way")
    spare = Path(spare_dir(str(tmp_path / "data")))
    folder = Path(folder_in(str(spare)))
    folder.mkdir(parents=True)
    (folder / "posts-1.json").write_text(
        RunFile.of_this_process("posts-1", "127.0.0.1:1").model_dump_json()
    )
    for mode in (0o777, 0o750, 0o701):
        spare.chmod(mode)
        assert running(str(tmp_path / "data")) == []
    spare.chmod(0o700)
    assert [item.id for item in running(str(tmp_path / "data"))] == ["posts-1"]
    spare.rename(tmp_path / "other")
    spare.symlink_to(tmp_path / "other")
    assert not is_ours(str(spare))


def test_a_process_that_has_ended_began_never() -> None:
    """Also while its parent has not asked how."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert began(process.pid) != ""
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert began(process.pid) == ""
    assert began(process.pid) == ""


def test_a_folder_that_is_not_there_has_nobody_in_it(tmp_path: Path) -> None:
    """Nor has a file in its place, or one whose working directory was removed."""
    assert running(str(tmp_path / "nowhere")) == []
    (tmp_path / "file").write_text("")
    assert running(str(tmp_path / "file")) == []
    code = "import os; os.mkdir('x'); os.chdir('x'); os.rmdir('../x')\n"
    code += "from blog.lifecycle.local_instances import running; print(running('data'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("service", ["posts", "posts-archive", "my-posts", "bus", "bus-tracker"])
def test_it_knows_its_service(service: str) -> None:
    """The whole name: one may begin with another's."""
    assert LocalInstance(f"{service}-{new_id()}", "127.0.0.1:1").service == service


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
    assert LocalInstance("posts-1", address).own_address == own
