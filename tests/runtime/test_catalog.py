"""A folder with a service.py is runnable, and nothing else has to be edited."""

import sys
from pathlib import Path

import pytest

import blog.services
from blog.core.errors import SettingsError
from blog.runtime import catalog

LIGHTHOUSE = """
from blog.core.contract import Service
service = Service("lighthouse")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a second folder of services beside ours."""
    monkeypatch.setattr(blog.services, "__path__", [*blog.services.__path__, str(tmp_path)])
    return tmp_path


def test_our_services_are_found() -> None:
    """The blog itself."""
    assert {"posts", "comments", "moderation", "query"} <= set(catalog.names())


def test_a_new_folder_is_a_new_service(folder: Path) -> None:
    """One new folder and no other edit."""
    (folder / "lighthouse").mkdir()
    (folder / "lighthouse" / "service.py").write_text(LIGHTHOUSE)
    assert "lighthouse" in catalog.names()
    assert catalog.load("lighthouse").name == "lighthouse"


def test_looking_imports_nothing(folder: Path) -> None:
    """A broken service does not keep the others from running."""
    (folder / "broken").mkdir()
    (folder / "broken" / "service.py").write_text("raise RuntimeError")
    assert "broken" in catalog.names()
    assert "blog.services.broken.service" not in sys.modules


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A typing error gets an answer that helps."""
    with pytest.raises(SettingsError, match="comments"):
        catalog.load("coments")


def test_a_service_is_named_like_its_folder(folder: Path) -> None:
    """Else two folders could claim one name."""
    (folder / "tower").mkdir()
    (folder / "tower" / "service.py").write_text(LIGHTHOUSE)
    with pytest.raises(SettingsError, match="tower"):
        catalog.load("tower")
