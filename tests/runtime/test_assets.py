"""Static files: a page names a version of all of them, and what is at that path is kept for good."""

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from blog.runtime.assets import IMMUTABLE, NO_CACHE, NO_STORE, cache_control, version_of

Client = TestClient[Any, Any]


def test_a_version_is_that_of_every_file(tmp_path: Path) -> None:
    """Other bytes, another name, one more: another version. What is not sent does not count."""

    def version(**files: str) -> str:
        version_of.cache_clear()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        return version_of(folder)

    first = version(a_js="1", b_css="2")
    assert version(b_css="2", a_js="1") == first == version(a_js="1", b_css="2", c_swp="x")
    others = [version(a_js="2", b_css="2"), version(a_js="1", c_css="2"), version(a_js="1"), version()]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(("requested", "kept"), [(None, NO_CACHE), ("v2", IMMUTABLE), ("v1", NO_STORE)])
def test_only_what_never_changes_is_kept(requested: str | None, kept: str) -> None:
    """While two deploys answer, what one gives under the other's version is kept by nobody."""
    assert cache_control(requested, "v2") == kept


async def test_every_file_of_a_page_is_kept_for_good(gateway_client: Client) -> None:
    """The page names them under their version; without one they are revalidated, another is not kept."""
    text = await (await gateway_client.get("/")).text()
    paths = re.findall(r'(?:src|href)="(/assets/[^"]+)"', text)
    assert len(paths) == 3
    for path in paths:
        response = await gateway_client.get(path)
        assert (response.status, response.headers["Cache-Control"]) == (200, IMMUTABLE), path
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        name = path.rpartition("/")[2]
        plain = await gateway_client.get(f"/assets/{name}")
        assert (plain.headers["Cache-Control"], plain.headers["ETag"]) == (
            NO_CACHE,
            response.headers["ETag"],
        )
        other = await gateway_client.get(f"/assets/0123456789abcdef/{name}")
        assert (other.status, other.headers["Cache-Control"]) == (200, NO_STORE)
    for path in ("/assets/0123/none.js", "/assets/x-y/live.js", "/assets/0123/service.py"):
        assert (await gateway_client.get(path)).status == 404, path


async def test_scripts_and_workers_are_our_own(gateway_client: Client) -> None:
    """The policy says so, on the page and on the worker, which has one of its own."""
    for path in ("/", "/assets/worker.js"):
        policy = (await gateway_client.get(path)).headers["Content-Security-Policy"]
        for rule in (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "connect-src 'self'",
        ):
            assert rule in policy.split("; "), path
