"""The log's identity outlives the process."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.settings import Settings
from blog.gateway.known_log import recall, registry_of, remember_at
from blog.lifecycle.lifecycle import Lifecycle


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    """The last one; nothing before the first."""
    path = tmp_path / "gateway" / "log-id"
    assert recall(path) is None
    remember_at(path)("one")
    remember_at(path)("two")
    assert recall(path) == "two"
    assert [file.name for file in path.parent.iterdir()] == ["log-id"]


@pytest.mark.parametrize("way", ["a folder", "a loop", "no text", "below a file"])
def test_what_cannot_be_read_is_not_known_and_said(way: str, tmp_path: Path) -> None:
    """A gateway without it serves all the same: the first bus that comes tells it."""
    path = tmp_path / "gateway" / "log-id"
    if way == "below a file":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
    if way == "a folder":
        path.mkdir()
    elif way == "a loop":
        path.symlink_to(path)
    elif way == "no text":
        path.write_bytes(b"\xff\xfe")
    with capture_logs() as logs:
        assert recall(path) is None
    assert [line["event"] for line in logs] == ["known_log.not_read"]


def test_what_cannot_be_kept_is_known_until_the_end_and_said(tmp_path: Path) -> None:
    """The registry goes on with it."""
    (tmp_path / "gateway").write_text("in the way")
    settings = Settings(data_dir=tmp_path)
    with capture_logs() as logs:
        registry = registry_of("gateway", settings, Lifecycle(SystemClock()))
        registry._remember_log("one")
    assert [line["event"] for line in logs] == ["known_log.not_read", "known_log.not_kept"]
