"""A regular file is read up to a bound; nothing else is read."""

import os
from pathlib import Path

import pytest

from blog.core.files.regular_file import read_regular_file


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    """Also where a link leads to it."""
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert [read_regular_file(str(tmp_path / name), most) for name, most in (("a", 9), ("b", 2))] == [
        b"abc",
        b"ab",
    ]


def test_what_is_not_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device that never ends, a folder, or nothing."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="not a file"):
            read_regular_file(str(path), 9)
    with pytest.raises(FileNotFoundError):
        read_regular_file(str(tmp_path / "none"), 9)
