"""What README shows is true: its service runs, and its test of it passes."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

import blog.services
from blog.core.contract import Meta
from blog.core.decision import Unchanged
from blog.core.settings import Settings
from blog.master.programs import defaults
from blog.master.scaling.spec import read
from blog.testing.harness import GatewayTestServer, running_blog

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def claps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save README's service as a folder of services."""
    folder = tmp_path / "services" / "claps"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Claps."""\n')
    (folder / "service.py").write_text(BLOCKS[0])
    monkeypatch.setattr(blog.services, "__path__", [*blog.services.__path__, str(folder.parent)])
    monkeypatch.delitem(sys.modules, "blog.services.claps.service", raising=False)


@pytest.mark.usefixtures("claps")
async def test_its_service_runs_and_its_test_passes(tmp_path: Path) -> None:
    """One new folder and no other edit: the gateway routes to it and it is scaled."""
    scope: dict[str, Any] = {}
    exec(BLOCKS[2], scope)  # noqa: S102 - README's own lines
    async with running_blog(tmp_path / "data") as running:
        client: TestClient[Any, Any] = TestClient(GatewayTestServer(running.url))
        async with client:
            await scope["test_claps_are_counted"](running, client)


@pytest.mark.usefixtures("claps")
def test_its_functions_can_be_called() -> None:
    """Given events, when a command, then these events."""
    scope: dict[str, Any] = {}
    exec(BLOCKS[1], scope)  # noqa: S102 - README's own lines
    scope["test_clapping"]()


@pytest.mark.usefixtures("claps")
def test_its_operator_command_stands_on_what_it_read() -> None:
    """Applause that comes meanwhile makes it decide again; where there is none, nothing is appended."""
    scope: dict[str, Any] = {"NOW": datetime.now(UTC), "meta": Meta("r", datetime.now(UTC))}
    lines = """
from blog.services.claps.service import *
from blog.testing.given import given
post = PostCreated(id="p1", title="Hello", created_at=NOW)
some, none = given(ClapsView, post, Clapped(id="c", post_id="p1", times=2)), given(ClapsView, post)
taken_back, left = reset("p1", some, meta), reset("p1", none, meta)
"""
    exec(lines, scope)  # noqa: S102 - on README's own lines
    taken_back = scope["taken_back"]
    assert [event.times for event in taken_back.events] == [-2]
    assert (taken_back.expect, taken_back.types) == (2, (scope["Clapped"],))
    assert scope["left"] == Unchanged()


def test_its_blog_toml_can_be_read(tmp_path: Path) -> None:
    """Word by word."""
    [text] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "blog.toml").write_text(text)
    comments = read(tmp_path / "blog.toml", defaults())["comments"]
    assert comments.replicas == 2
    assert comments.autoscale is not None
    assert len(comments.schedule) == 2


def test_its_lines_of_containers_start_every_service() -> None:
    """The image's tests run the same lines; a new service has to be named here too."""
    loop = re.search(r"for service in ([a-z ]+); do docker run -d --network blog blog", README)
    assert loop
    assert {*loop[1].split(), "gateway"} == set(defaults())
    for line in ("docker build -t blog .", "--network blog --name gateway -p 8080:8080 blog gateway"):
        assert line in README


def test_its_table_of_settings_is_complete() -> None:
    """Every variable is named."""
    for name in Settings.model_fields:
        assert f"BLOG_{name.upper()}" in README
