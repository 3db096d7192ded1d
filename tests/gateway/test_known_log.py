"""The log's identity outlives the process."""

from pathlib import Path

from blog.gateway.known_log import recall, remember_at


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    """The last one; nothing before the first."""
    path = tmp_path / "gateway" / "log-id"
    assert recall(path) is None
    remember_at(path)("one")
    remember_at(path)("two")
    assert recall(path) == "two"
    assert [file.name for file in path.parent.iterdir()] == ["log-id"]
