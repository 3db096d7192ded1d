"""The log's identity outlives the process."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.settings import Settings
from blog.gateway.known_log import read_log_id, registry_of, write_log_id
from blog.lifecycle.lifecycle import Lifecycle
from blog.registry.log_identity import CLAIMED


def test_the_last_identity_is_read(tmp_path: Path) -> None:
    """Nothing before the first."""
    path = tmp_path / "gateway" / "log-id"
    assert read_log_id(path) is None
    write_log_id(path, "one")
    write_log_id(path, "two")
    assert read_log_id(path) == "two"
    assert [file.name for file in path.parent.iterdir()] == ["log-id"]


@pytest.mark.parametrize("way", ["a folder", "a loop", "no text"])
def test_one_that_is_there_and_cannot_be_read_is_an_error(way: str, tmp_path: Path) -> None:
    """A gateway without it would take any log for its own; one line says what to do."""
    path = tmp_path / "gateway" / "log-id"
    path.parent.mkdir()
    if way == "a folder":
        path.mkdir()
    elif way == "a loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=f"BLOG_DATA_DIR={tmp_path}: {path} cannot be used by user"):
        read_log_id(path)


def test_below_a_file_there_is_none(tmp_path: Path) -> None:
    """As in a folder that is not there."""
    (tmp_path / "gateway").write_text("")
    assert read_log_id(tmp_path / "gateway" / "log-id") is None


def test_what_cannot_be_kept_is_known_until_the_end_and_said(tmp_path: Path) -> None:
    """The registry goes on with it."""
    (tmp_path / "gateway").write_text("in the way")
    settings = Settings(data_dir=tmp_path)
    with capture_logs() as logs:
        registry = registry_of("gateway", settings, Lifecycle(SystemClock()))
        registry.log_identity._remember("one")
    assert [line["event"] for line in logs] == ["log_id.not_saved"]


def test_that_a_stranger_brought_it_outlives_the_process(tmp_path: Path) -> None:
    """As a second line, which an earlier version does not read; what was written before has none."""
    settings, lifecycle = Settings(data_dir=tmp_path), Lifecycle(SystemClock())
    path = tmp_path / "gateway" / "log-id"
    registry_of("gateway", settings, lifecycle).log_identity._remember(f"one\n{CLAIMED}")
    assert path.read_text() == f"one\n{CLAIMED}\n"
    assert read_log_id(path) == "one"
    known = registry_of("gateway", settings, lifecycle).log_identity
    assert (known.current, known.is_claim) == ("one", True)
    known.adopt("one")
    assert path.read_text() == "one\n"
    known = registry_of("gateway", settings, lifecycle).log_identity
    assert (known.current, known.is_claim) == ("one", False)


def test_what_a_later_version_adds_is_ignored(tmp_path: Path) -> None:
    """The identity is the first line."""
    path = tmp_path / "log-id"
    path.write_text("one\nadopted 2026-01-01\n")
    assert read_log_id(path) == "one"
