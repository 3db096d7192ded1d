"""How many copies: from a file, from words, and what cannot be."""

from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.master.desired import checked, parse, read


def test_a_file_says_how_many(tmp_path: Path) -> None:
    """`[services.comments] replicas = 2`; no file says nothing."""
    file = tmp_path / "blog.toml"
    assert read(file) == {}
    file.write_text("[services.comments]\nreplicas = 2\n")
    assert read(file) == {"comments": 2}


@pytest.mark.parametrize(
    "text",
    [
        "[services.comments",
        "[services.comments]\nreplicas = -1",
        "[services.comments]\nreplicas = 'two'",
        "[services.comments]\ncopies = 2",
        "[servces.comments]\nreplicas = 2",
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str) -> None:
    """It names the file and the place."""
    file = tmp_path / "blog.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"blog\.toml") as caught:
        read(file)
    assert "\n" not in caught.value.detail


def test_words_say_how_many() -> None:
    """`comments=3 posts=2`."""
    assert parse(["comments=3", "posts=2"]) == {"comments": 3, "posts": 2}


@pytest.mark.parametrize("word", ["comments", "comments=", "=3", "comments=x", "comments=-1"])
def test_other_words_are_refused(word: str) -> None:
    """With an example of how it is written."""
    with pytest.raises(SettingsError, match="comments=3"):
        parse([word])


@pytest.mark.parametrize(
    "wanted", [{"coments": 1}, {"bus": 2}, {"gateway": 0}, {"comments": 101}, {"comments": -1}]
)
def test_what_cannot_be(wanted: dict[str, int]) -> None:
    """Unknown services, a second log or door, absurd numbers."""
    with pytest.raises(SettingsError):
        checked(wanted, ["gateway", "bus", "comments"])
