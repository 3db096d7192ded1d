"""The pytest plugin that comes with the package: fixtures `blog` and `gateway_client`.

Imports nothing heavy until a test asks for a fixture: pytest loads this before anything else.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest_asyncio

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from blog.testing.harness import RunningBlog


@pytest_asyncio.fixture
async def blog(tmp_path: Path) -> AsyncIterator["RunningBlog"]:
    """Give a whole running blog, one replica of each service, in the test's own event loop."""
    from blog.testing.harness import running_blog  # noqa: PLC0415 - heavy

    async with running_blog(tmp_path / "blog") as running:
        yield running


@pytest_asyncio.fixture
async def gateway_client(blog: "RunningBlog") -> AsyncIterator["TestClient[Any, Any]"]:
    """Give aiohttp's test client, pointed at the public port of `blog`."""
    from aiohttp.test_utils import TestClient  # noqa: PLC0415 - heavy

    from blog.testing.harness import GatewayTestServer  # noqa: PLC0415 - heavy

    client: TestClient[Any, Any] = TestClient(GatewayTestServer(blog.url))
    async with client:
        yield client
