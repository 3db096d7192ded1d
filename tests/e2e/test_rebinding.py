"""A page whose name leads into the network (DNS rebinding) is refused, in a real browser."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, async_playwright

from blog.core.clock import SystemClock
from blog.core.net.access_policy import AccessPolicy
from blog.registry.app import registry_app
from blog.registry.server.service import Registry
from tests.e2e.readers import chromium

NAME = "rebound.example"
ATTEMPTS = (
    "fetch(url)",
    "fetch(url, {referrerPolicy: 'no-referrer', headers: {'Accept-Language': '', 'User-Agent': 'curl'}})",
    "fetch(url, {method: 'POST', body: 'x'})",
    "fetch(url, {method: 'DELETE'})",
)


@pytest.fixture
async def admin() -> AsyncIterator[TestServer]:
    """Run the admin API of a registry without a token."""
    async with Registry(clock=SystemClock(), policy=AccessPolicy()) as registry:
        server = TestServer(registry_app(registry), host="127.0.0.1")
        await server.start_server(shutdown_timeout=0.05)
        yield server
        await server.close()


@pytest.fixture
async def page(admin: TestServer) -> AsyncIterator[Page]:
    """Open a page of a site whose name has become the address of the admin API."""
    async with async_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", rules]
        )
        page = await browser.new_page()
        await page.goto(f"http://{NAME}:{admin.port}/v1/services")
        yield page
        await browser.close()


async def test_a_rebound_page_reads_and_writes_nothing(admin: TestServer, page: Page) -> None:
    """It is of the same origin for the browser: a GET has neither `Origin` nor `Sec-Fetch-Site`."""
    for attempt in ATTEMPTS:
        status = await page.evaluate(
            f"url => {attempt}.then(response => response.status)", "/v1/services"
        )
        assert status == web.HTTPForbidden.status_code, attempt
    async with aiohttp.ClientSession() as http, http.get(admin.make_url("/v1/services")) as response:
        assert response.status == web.HTTPOk.status_code
