"""Settings of services are known without importing any."""

import os
import sys
from pathlib import Path

import pytest

import blog.services
from blog.runtime import catalog
from blog.runtime.declared import fields_in, setting_names

SOURCE = """
import sys
from blog.core.settings import ServiceSettings
import blog.core.settings as s

class Own(ServiceSettings):
    own_words: str = "x"
    not_one = 1

class Other(s.ServiceSettings):
    other: int = 1

class Child(Own):
    child: int = 1

class Model:
    no_setting: int = 1

sys.exit(1)
"""


def test_those_of_our_services_are_found() -> None:
    """Every field of every model that a service declares."""
    models = [catalog.load(name).settings for name in catalog.names()]
    declared = {field for model in models if model for field in model.model_fields}
    assert declared
    assert declared <= setting_names()


def test_nothing_is_imported_and_what_cannot_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that would end the process, beside what is no Python, no file, or has no end."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "service.py").write_text(SOURCE)
    for name, content in {"a": b"def (", "b": b"\x00", "c": b"\xff\xfe", "d": b"(" * 5000}.items():
        (folder / f"{name}.py").write_bytes(content)
    (folder / "e.py").symlink_to(folder / "nowhere")
    (folder / "f.py").mkdir()
    os.mkfifo(folder / "g.py")
    (folder / "h.py").symlink_to("/dev/zero")
    with (folder / "i.py").open("wb") as huge:
        huge.truncate(1 << 40)
    (folder / "j.py").write_text(SOURCE.replace("other:", "unread:") + "#" * (1 << 20))
    (folder / "k.py").write_text(SOURCE)
    (folder / "k.py").chmod(0)
    assert fields_in(folder) == {"own_words", "other", "child"}
    monkeypatch.setattr(blog.services, "__path__", [str(tmp_path)])
    assert setting_names() == {"own_words", "other", "child"}
    assert "blog.services.broken.service" not in sys.modules
