"""What is kept of a body, and what flows."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from blog.gateway.body import Body
from blog.http.limits import REPLAY_LIMIT


async def parts(size: int) -> AsyncIterator[bytes]:
    """Send a body whose length nobody knows."""
    for at in range(0, size, 1000):
        yield b"x" * min(1000, size - at)


@pytest.mark.parametrize(
    ("size", "is_known", "is_repeatable", "is_kept"),
    [
        (0, True, True, True),
        (10, True, True, True),
        (10, True, False, True),
        (REPLAY_LIMIT, True, False, True),
        (REPLAY_LIMIT + 1, True, True, False),
        (10, False, True, True),
        (10, False, False, False),
        (REPLAY_LIMIT + 1000, False, True, False),
    ],
)
async def test_only_small_bodies_can_be_sent_again(
    size: int,
    is_known: bool,  # noqa: FBT001 - a table
    is_repeatable: bool,  # noqa: FBT001 - a table
    is_kept: bool,  # noqa: FBT001 - a table
) -> None:
    """Those of unknown length only where the request may be repeated; all come through whole."""

    async def read(request: web.Request) -> web.Response:
        body = Body(request)
        await body.keep(is_repeatable=is_repeatable)
        got = []
        for _ in range(2 if is_kept else 1):
            assert body.can_be_sent()
            content = body.content()
            if isinstance(content, bytes) or content is None:
                got.append(content or b"")
            else:
                got.append(b"".join([chunk async for chunk in content]))
        return web.json_response([body.can_be_sent(), [len(one) for one in got]])

    app = web.Application(client_max_size=1 << 21)
    app.router.add_post("/", read)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/", data=b"x" * size if is_known else parts(size))
        assert await answer.json() == [is_kept, [size] * (2 if is_kept else 1)]
