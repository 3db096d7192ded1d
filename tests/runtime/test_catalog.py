"""A folder with a service.py is runnable, and nothing else has to be edited."""

import os
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


BROKEN = {
    "syntax": ("x = 1\ndef (\n", r"service\.py:2: SyntaxError"),
    "no python": ("\x00", "SyntaxError|ValueError"),
    "indentation": ("if x:\npass\n", r"service\.py:2: IndentationError"),
    "import": ("\nimport nothing_of_this_name\n", r"service\.py:2: ModuleNotFoundError: No module named"),
    "relative import": ("from . import nothing\n", r"service\.py:1: ImportError"),
    "any error": ("raise RuntimeError('one\\ntwo\\x1b[31m')\n", r"service\.py:1: RuntimeError: one two"),
    "deep inside": ("import json\n\njson.loads('{')\n", r"service\.py:3: JSONDecodeError"),
    "no words": ("assert False\n", r"service\.py:1: AssertionError$"),
    "no words at all": (
        "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E\n",
        r"service\.py:4: E$",
    ),
    "exit": ("import sys\nsys.exit(3)\n", r"service\.py:2: SystemExit: 3"),
    "exit in order": ("raise SystemExit\n", r"service\.py:1: SystemExit"),
    "base": ("class Stop(BaseException): pass\nraise Stop\n", r"service\.py:2: Stop"),
    "cancelled": ("import asyncio\nraise asyncio.CancelledError\n", "CancelledError"),
    "group": ("raise ExceptionGroup('two', [ValueError(), TypeError()])\n", "ExceptionGroup"),
    "endless recursion": ("def f(): f()\nf()\n", "RecursionError"),
    "nothing in it": ("", "there must be service = Service"),
    "another thing": ("service = 7\n", "there must be service = Service"),
    "a class": ("from blog.core.contract import Service as service\n", "there must be service"),
    "a bad route": (
        """from blog.core.contract import Service
service = Service("broken")
@service.command("POST", "no-slash")
def f() -> None: ...
""",
        r"service\.py:3: ",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_one_line(folder: Path, kind: str) -> None:
    """File, line and what is wrong; whatever it raises, it ends nobody but itself."""
    content, says = BROKEN[kind]
    (folder / "broken").mkdir()
    (folder / "broken" / "service.py").write_text(content)
    try:
        with pytest.raises(SettingsError, match=says) as caught:
            catalog.load("broken")
    finally:
        for name in [name for name in sys.modules if name.startswith("blog.services.broken")]:
            del sys.modules[name]
    detail = caught.value.detail
    assert detail.isprintable()
    assert str(folder / "broken" / "service.py") in detail
    assert catalog.load("posts").name == "posts"


def test_a_broken_package_around_it_is_named(folder: Path) -> None:
    """Its `__init__.py`, or another file of the folder, with the line there."""
    (folder / "broken").mkdir()
    (folder / "broken" / "service.py").write_text(LIGHTHOUSE)
    (folder / "broken" / "__init__.py").write_text("\n\n1 / 0\n")
    with pytest.raises(SettingsError, match=r"__init__\.py:3: ZeroDivisionError"):
        catalog.load("broken")


def test_ctrl_c_while_a_service_is_imported_is_ctrl_c(folder: Path) -> None:
    """Somebody does not want to wait."""
    (folder / "broken").mkdir()
    (folder / "broken" / "service.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        catalog.load("broken")


def test_what_is_no_service_is_passed_over_and_said(folder: Path) -> None:
    """Odd names; a second folder of one name, of which the import never hears; what is no file."""
    for name in ("Upper", "with space", "b\xf6se", "1st", "a.b", "-x", "x" * 80, "posts"):
        (folder / name).mkdir()
        (folder / name / "service.py").write_text(LIGHTHOUSE)
    for name in ("__pycache__", "empty", "a-folder"):
        (folder / name).mkdir()
    (folder / "__pycache__" / "service.py").write_text("")
    (folder / "a-folder" / "service.py").mkdir()
    (folder / "file").write_text("")
    (folder / "link").symlink_to(folder / "nowhere")
    before = catalog.names()
    assert len(set(before)) == len(before)
    assert {"posts", "comments"} <= set(before)
    assert not {"Upper", "with space", "a.b", "empty", "a-folder", "__pycache__"} & set(before)
    said = {Path(path).name: why for path, why in catalog.ignored().items()}
    assert set(said) == {"Upper", "with space", "b\xf6se", "1st", "a.b", "-x", "x" * 80, "posts"}
    assert "already" in said["posts"]


def test_a_root_that_cannot_be_looked_into_has_no_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not even be there."""
    roots = [*blog.services.__path__, str(tmp_path / "nowhere"), os.devnull]
    monkeypatch.setattr(blog.services, "__path__", roots)
    assert "posts" in catalog.names()
