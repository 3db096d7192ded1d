"""The words of scaling: what they need, and `blog schedule` without a running blog."""

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import blog

TEXT = """
timezone = "Europe/Berlin"
[services.comments]
schedule = [{at = "0 10 * * *", replicas = 5}, {at = "0 1 * * *", replicas = 1}]
"""


def test_the_schedule_of_a_file(tmp_path: Path) -> None:
    """What comes next, for people and for scripts, whether or not a blog runs."""
    (tmp_path / "blog.toml").write_text(TEXT)
    rows = json.loads(blog(tmp_path, "schedule", "--json", "-n", "2").stdout)
    assert sorted(row["replicas"] for row in rows) == [1, 5]
    assert {row["timezone"] for row in rows} == {"Europe/Berlin"}
    shown = blog(tmp_path, "schedule").stdout
    assert shown.count("comments") == 3
    assert "10:00" in shown


def test_no_schedule(tmp_path: Path) -> None:
    """It says so, and scripts get an empty list."""
    assert "blog.toml" in blog(tmp_path, "schedule").stdout
    assert json.loads(blog(tmp_path, "schedule", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scale", "comments=many"], "comments=3"),
        (["scale", "comments=2", "--wait"], "blog up"),
        (["rollout", "comments"], "blog up"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(tmp_path: Path, words: list[str], says: str) -> None:
    """Bad words, and no blog to say them to."""
    done = blog(tmp_path, *words)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert says in line


@pytest.mark.parametrize("words", [["up"], ["schedule"]])
def test_a_mistake_in_the_file_is_one_line_and_code_2(tmp_path: Path, words: list[str]) -> None:
    """With the place in it."""
    (tmp_path / "blog.toml").write_text(TEXT.replace("0 10", "0 25"))
    done = blog(tmp_path, *words)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert "blog.toml: services.comments.schedule.0.at: bad hour" in line
