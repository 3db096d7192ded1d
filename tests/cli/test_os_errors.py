"""Errors with files are one line, wherever they show; others are crashes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blog.cli.os_errors import message_of


def ended(folder: Path, setting: str, error: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends with `error`."""
    code = (
        "import errno, sys, blog.cli.ps as ps; from blog.__main__ import main\n"
        f"def fail(**_): raise {error}\n"
        "ps.show = fail; sys.argv[1:] = ['ps']; sys.exit(main())"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=clean | {"BLOG_DATA_DIR": setting}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("data_dir", ["data", "./data/../data", "link", "{}/data"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("OSError(errno.ENOSPC, 'No space left on device')", "make room"),
        ("OSError(errno.EDQUOT, 'Disk quota exceeded')", "make room"),
        ("OSError(errno.EFBIG, 'File too large')", "make room"),
        (
            "OSError(errno.EIO, 'I/O error', '{}/data/run/token')",
            "data/run/token cannot be used",
        ),
        ("OSError(errno.EROFS, 'Read-only file system', b'{}/data/x')", "mount it"),
    ],
)
def test_what_is_wrong_with_the_data_directory_is_one_line(
    tmp_path: Path, data_dir: str, error: str, says: str
) -> None:
    """Also an error of writing, which names no file, and a name that is written in another way."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    done = ended(tmp_path, data_dir.format(tmp_path), error.format(tmp_path))
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("blog: BLOG_DATA_DIR=")
    assert says in line


def test_a_disk_without_room_is_one_line(tmp_path: Path) -> None:
    """Here it is the limit of the size of files that keeps the master from writing its own."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "sys.argv[1:] = ['up']; from blog.__main__ import main; sys.exit(main())"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    ports = {"BLOG_PUBLIC_PORT": "0", "BLOG_ADMIN_PORT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=clean | ports, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert "make room" in line


def test_an_output_that_is_full_is_not_the_data_directory(tmp_path: Path) -> None:
    """It is said to be the output, once."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "blog", "settings"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "blog: The output cannot be written: No space left on device.\n"


def test_what_has_to_do_with_no_file_of_ours_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A connection, a file of somebody else, or settings that cannot be read."""
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    assert message_of(ConnectionRefusedError(111, "Connection refused")) is None
    assert message_of(PermissionError(13, "Permission denied", "/etc/shadow")) is None
    assert message_of(PermissionError(13, "Permission denied", f"{tmp_path}-other/x")) is None
    assert message_of(PermissionError(13, "Permission denied", str(tmp_path / "x"))) is not None
    monkeypatch.setenv("BLOG_PORT", "many")
    assert message_of(PermissionError(13, "Permission denied", str(tmp_path / "x"))) is None
    assert capfd.readouterr().out == ""
