"""Readers of the pages, each with a browser profile of their own: they type, look, and complain."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = "BLOG_REQUIRE_BROWSER"

Open = Callable[..., Any]


def chromium() -> str:
    """Return the system's Chromium; without one skip, or fail where BLOG_REQUIRE_BROWSER asks for one."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip)("no Chromium is installed here")
    return CHROMIUM


class Reader:
    """One page of a reader, and everything that it complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type == "error" else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def write(self, title: str, body: str = "") -> None:
        """Publish a post by the form."""
        await self.page.goto(f"{self.url}/write")
        await self.page.get_by_label("Title").fill(title)
        await self.page.get_by_label("Text").fill(body)
        await self.page.get_by_role("button", name="Publish").click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(title)

    async def comment(self, content: str) -> None:
        """Send a comment by the form."""
        await self.page.get_by_role("textbox", name="Comment").fill(content)
        await self.page.get_by_role("button", name="Send").click()

    async def picture(self, name: str) -> None:
        """Keep a picture, where somebody wants to look at it."""
        folder = os.environ.get("BLOG_SCREENSHOTS")
        if folder:
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def until_live(reader: Reader) -> None:
    """Wait until the page hears of what happens."""
    await reader.page.wait_for_selector("[data-connected]", state="attached")
