"""`blog log adopt`: every registry is asked, and one that refuses is an exit code of 1."""

import asyncio
from pathlib import Path

import pytest

from blog.cli.log import adopt
from tests.registry.server.test_service import TOKEN, a_world


async def test_a_log_is_adopted_at_every_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result of each is a line; what cannot be reached is said too."""
    async with a_world(known_log="one") as first, a_world(known_log="one") as second:
        urls = [world.url.rstrip("/") for world in (first, second)]
        monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("BLOG_TOKEN", TOKEN)
        monkeypatch.setenv("BLOG_REGISTRY", ",".join(urls))
        assert await asyncio.to_thread(adopt, "two") == 0
        assert [world.registry.log_identity.current for world in (first, second)] == ["two", "two"]
        printed = capsys.readouterr().out.splitlines()
        assert {f"{url}: the log of this blog is two." for url in urls} <= set(printed)
        monkeypatch.setenv("BLOG_REGISTRY", f"http://127.0.0.1:1,{urls[0]}")
        assert await asyncio.to_thread(adopt, "three") == 1
        assert first.registry.log_identity.current == "three"
        assert "http://127.0.0.1:1: " in capsys.readouterr().err


async def test_a_refusal_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason that the registry gives."""
    async with a_world(known_log="one") as world:
        monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("BLOG_TOKEN", "another-token-of-ours")
        monkeypatch.setenv("BLOG_REGISTRY", world.url.rstrip("/"))
        assert await asyncio.to_thread(adopt, "two") == 1
        assert world.registry.log_identity.current == "one"
        assert "BLOG_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("BLOG_TOKEN", TOKEN)
        assert await asyncio.to_thread(adopt, "not an identity") == 1
        assert world.registry.log_identity.current == "one"
