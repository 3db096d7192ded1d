"""Lines of a log: they matter less than what they are about."""

import errno
import io
import os

import pytest

from blog.core.logs import LogOutput, configure, get_logger


class FullDisk(io.StringIO):
    """A file of a disk that is full."""

    def write(self, text: str) -> int:
        """Have no room."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Have no room."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs does not notice."""
    monkeypatch.setattr("sys.stdout", FullDisk())
    with pytest.raises(OSError, match="No space"):
        print("no room")
    configure()
    get_logger().info("disk.filled")


def test_lines_arrive(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is room."""
    lines = LogOutput(io.StringIO())
    lines.write("lost with its file\n")
    configure(log_format="json")
    get_logger().info("disk.emptied")
    assert '"event": "disk.emptied"' in capsys.readouterr().out
