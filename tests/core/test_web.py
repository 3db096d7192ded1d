"""What every aiohttp port of ours has in common: a request for another instance is not processed."""

from http import HTTPStatus

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from blog.core.web import BROWSER_HEADERS, INSTANCE_HEADER, problems, requires_instance


@pytest.mark.parametrize("name", [None, *sorted(BROWSER_HEADERS)])
async def test_a_request_for_another_instance_is_misdirected(name: str | None) -> None:
    """Who is here is told to programs: a web page that knew it would pass for the gateway."""
    app = web.Application(middlewares=[problems, requires_instance("posts-1")])
    headers = {INSTANCE_HEADER: "posts-2"} | ({} if name is None else {name: "x"})
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/", headers=headers)
        assert response.status == HTTPStatus.MISDIRECTED_REQUEST
        told = str(dict(response.headers)) + await response.text()
    assert ("posts-1" in told) is (name is None)
