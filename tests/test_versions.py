"""One version, wherever it is written: a release is a change of all of them."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_newest_version_of_the_changelog_is_the_packages() -> None:
    """The section on top of the changelog is about what this checkout is."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == VERSION


def test_the_page_for_operators_says_how_to_get_to_this_version() -> None:
    """Every section of the changelog but the first release has one in docs/upgrading.md."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    steps = re.findall(r"^### (\S+) → (\S+)", (ROOT / "docs" / "upgrading.md").read_text(), re.MULTILINE)
    assert steps == list(zip(headings[1:], headings[:-1], strict=True))


def test_what_is_installed_and_the_image_have_it_too() -> None:
    """`blog ps` shows the one, `docker inspect` the other."""
    assert version("blog") == VERSION, "run `make setup`: what is installed here is another version"
    assert f'image.version="{VERSION}"' in (ROOT / "Dockerfile").read_text()
