"""A changed file is taken up by itself, whole; a mistake in it changes nothing."""

import os
from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.master.scaling.spec_file import SpecFileWatch

KNOWN = ("comments",)


def write(path: Path, text: str, at: int) -> None:
    """Write the file as an editor does; `at` makes the time another one, however quick the test is."""
    path.write_text(text)
    os.utime(path, ns=(at, at))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file that wants two."""
    path = tmp_path / "blog.toml"
    write(path, "[services.comments]\nreplicas = 2\n", 1)
    return path


def test_a_change_is_news_once_it_has_settled(path: Path) -> None:
    """At the second look that finds it the same, and only once."""
    file = SpecFileWatch(path, KNOWN)
    assert file.poll() is None
    write(path, "", 2)  # an editor has emptied it, and is about to write
    assert file.poll() is None
    write(path, "[services.comments]\nreplicas = 3\n", 3)
    assert file.poll() is None
    news = file.poll()
    assert news is not None
    assert news["comments"].replicas == 3
    assert file.poll() is None


def test_a_mistake_changes_nothing_and_is_told(path: Path) -> None:
    """Until it is put right."""
    file = SpecFileWatch(path, KNOWN)
    write(path, "[services.comments]\nreplicas = 'x'\n", 2)
    assert [file.poll(), file.poll(), file.poll()] == [None, None, None]
    assert "services.comments.replicas" in file.problem
    assert file.specs["comments"].replicas == 2
    write(path, "[services.comments]\nreplicas = 4\n", 3)
    file.poll()
    news = file.poll()
    assert news is not None
    assert (news["comments"].replicas, file.problem) == (4, "")


def test_a_file_may_come_and_go(path: Path) -> None:
    """Without one, nothing is said."""
    file = SpecFileWatch(path, KNOWN)
    path.unlink()
    file.poll()
    news = file.poll()
    assert news is not None
    assert news["comments"].replicas is None


def test_at_the_start_a_mistake_is_an_error(path: Path) -> None:
    """Nothing is there yet that could hold instead."""
    write(path, "replicas = 2", 2)
    with pytest.raises(SettingsError):
        SpecFileWatch(path, KNOWN)
