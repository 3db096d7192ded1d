"""The log of a copy: its own last lines, and never too long."""

from pathlib import Path

from blog.master.copy_log import REMEMBERED, CopyLog, move_long


def test_last_lines_are_those_of_this_copy(tmp_path: Path) -> None:
    """What an earlier one of the same name has said is not its last word."""
    path = tmp_path / "posts-1.log"
    path.write_text("of the one before\n")
    log = CopyLog(path)
    assert log.last_lines() == []
    with log.open() as file:
        file.write(b"one\ntwo\n")
    assert log.last_lines() == ["one", "two"]


def test_only_the_last_ones_are_remembered(tmp_path: Path) -> None:
    """However much was logged."""
    log = CopyLog(tmp_path / "posts-1.log")
    with log.open() as file:
        file.writelines(f"line {number} {'x' * 100}\n".encode() for number in range(1000))
    lines = log.last_lines()
    assert len(lines) == REMEMBERED
    assert lines[-1].startswith("line 999 ")


def test_a_long_log_begins_anew_under_its_writer(tmp_path: Path) -> None:
    """What was there is kept beside it; the writer, who has it open, goes on in the new one."""
    log = CopyLog(tmp_path / "posts-1.log")
    with log.open() as file:
        file.write(b"x" * 99 + b"\n")
        move_long(tmp_path, max_size=100)
        assert log.path.stat().st_size == 100
        file.write(b"y\n")
        move_long(tmp_path, max_size=100)
        file.write(b"z\n")
    assert log.path.read_bytes() == b"z\n"
    assert (tmp_path / "posts-1.log.1").read_bytes() == b"x" * 99 + b"\ny\n"
    assert log.last_lines() == ["z"]


def test_how_it_ends_can_be_asked(tmp_path: Path) -> None:
    """Also before there is any."""
    log = CopyLog(tmp_path / "posts-1.log")
    assert not log.ends_with(b"two\n")
    with log.open() as file:
        file.write(b"one\ntwo\n")
    assert log.ends_with(b"two\n")
    assert not log.ends_with(b"one\n")
    assert not log.ends_with(b"before\none\ntwo\n")
