"""The log of a replica: its own last lines, and never too long."""

from pathlib import Path

from blog.master.runtimes.logs import REMEMBERED, SHOWN, ReplicaLog, log_files, read_new_lines, rotate


def test_last_lines_are_those_of_this_replica(tmp_path: Path) -> None:
    """What an earlier one of the same name has said is not among them."""
    path = tmp_path / "posts-1.log"
    path.write_text("of the one before\n")
    log = ReplicaLog(path)
    assert log.last_lines() == []
    with log.open() as file:
        file.write(b"one\ntwo\n")
    assert log.last_lines() == ["one", "two"]


def test_only_the_last_ones_are_remembered(tmp_path: Path) -> None:
    """However much was logged."""
    log = ReplicaLog(tmp_path / "posts-1.log")
    with log.open() as file:
        file.writelines(f"line {number} {'x' * 100}\n".encode() for number in range(1000))
    lines = log.last_lines()
    assert len(lines) == REMEMBERED
    assert lines[-1].startswith("line 999 ")


def test_a_long_log_begins_anew_under_its_writer(tmp_path: Path) -> None:
    """What was there is kept beside it; the writer, who has it open, goes on in the new one."""
    log = ReplicaLog(tmp_path / "posts-1.log")
    with log.open() as file:
        file.write(b"x" * 99 + b"\n")
        rotate(tmp_path, max_size=100)
        assert log.path.stat().st_size == 100
        file.write(b"y\n")
        rotate(tmp_path, max_size=100)
        file.write(b"z\n")
    assert log.path.read_bytes() == b"z\n"
    assert (tmp_path / "posts-1.log.1").read_bytes() == b"x" * 99 + b"\ny\n"
    assert log.last_lines() == ["z"]


def test_how_it_ends_can_be_asked(tmp_path: Path) -> None:
    """Also before there is any."""
    log = ReplicaLog(tmp_path / "posts-1.log")
    assert log.recent() == frozenset()
    with log.open() as file:
        file.write(b"one\ntwo\n")
    assert log.recent() == {b"one\n", b"two\n"}


def test_news_are_whole_lines_each_with_its_name(tmp_path: Path) -> None:
    """At the first look the last ones, then what was added; also where it has begun anew meanwhile."""
    path = tmp_path / "my-service-1.log"
    path.write_text("".join(f"{number}\n" for number in range(SHOWN + 1)) + "half a")
    read: dict[Path, int] = {}
    first = read_new_lines(path, read).splitlines()
    assert (len(first), first[0], first[-1]) == (SHOWN, b"my-service-1 | 1", b"my-service-1 | 100")
    with path.open("a") as file:
        file.write(" line\nand half")
        file.flush()
        assert read_new_lines(path, read) == b"my-service-1 | half a line\n"
        rotate(tmp_path, max_size=1)
        file.write("new\n")
    assert read_new_lines(path, read) == b"my-service-1 | new\n"
    assert read_new_lines(path, read) == b""


def test_logs_are_found_by_service(tmp_path: Path) -> None:
    """By the whole name, not its beginning; a log that has been put aside is none."""
    for name in ("posts-1.log", "posts-12.log", "posts-more-1.log", "posts-1.log.1"):
        (tmp_path / name).touch()
    assert [file.name for file in log_files(tmp_path, frozenset({"posts"}))] == [
        "posts-1.log",
        "posts-12.log",
    ]
    assert len(log_files(tmp_path, frozenset())) == 3
