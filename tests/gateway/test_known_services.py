"""Who was there outlives the process that knew it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.gateway.known_services import read_services, services_writer


def test_the_last_counts_are_read(tmp_path: Path) -> None:
    """The last counts; nothing before the first."""
    path = tmp_path / "gateway" / "services"
    assert read_services(path) == {}
    write = services_writer(path)
    for counts in ({"posts": 1}, {"posts": 2, "my-shop": 1}):
        write(counts)
        assert read_services(path) == counts
    assert [file.name for file in path.parent.iterdir()] == ["services"]


def test_nothing_is_written_that_is_there_already(tmp_path: Path) -> None:
    """It is called ten times a second."""
    path = tmp_path / "services"
    write = services_writer(path)
    write({"posts": 1})
    path.unlink()
    write({"posts": 1})
    assert not path.exists()


def test_the_order_of_services_is_kept(tmp_path: Path) -> None:
    """It decides about routes after a restart."""
    write = services_writer(tmp_path / "services")
    write({"posts": 1, "comments": 1})
    write({"comments": 1, "posts": 1})
    assert list(read_services(tmp_path / "services")) == ["comments", "posts"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\0" * 64, b'{"posts": "many"}', b'{"/etc": 1}', b"\xff", None]
)
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    """Nor does a folder in its place; the gateway starts."""
    path = tmp_path / "services"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert read_services(path) == {}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """It is a hint, and no more."""
    (tmp_path / "gateway").write_text("a file in its place")
    write = services_writer(tmp_path / "gateway" / "services")
    write({"posts": 1})
    write({"posts": 2})


def test_a_file_that_is_there_and_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A later version may have written it; one that is not there is no news."""
    with capture_logs() as logged:
        assert read_services(tmp_path / "services") == {}
        assert logged == []
        (tmp_path / "services").write_text('{"version": 2, "services": {"posts": 1}}')
        assert read_services(tmp_path / "services") == {}
    assert [line["event"] for line in logged] == ["known_services.unreadable"]
