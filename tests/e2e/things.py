"""Instances for partition tests: `python things.py COUNT` runs so many of the service `things`."""

import asyncio
import sys
from contextlib import AsyncExitStack

import uvloop
from aiohttp import web

from blog.core.clock import SystemClock
from blog.core.instance import Route
from blog.core.logs import configure
from blog.core.settings import Settings, load
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member

ROUTES = (Route(method="GET", pattern="/things"),)


async def answer(_: web.Request) -> web.Response:
    """Say something; who says it stands in the header."""
    return web.Response(text="thing")


async def main(count: int) -> None:
    """Run them until this process is killed."""
    settings = load(Settings)
    configure(settings.log_level, settings.log_format, service="things")
    async with AsyncExitStack() as stack:
        members = []
        for number in range(count):
            app = web.Application()
            app.router.add_get("/things", answer)
            folder = settings.data_dir / str(number)
            own = settings.model_copy(update={"data_dir": folder})
            joining = Member.join(Lifecycle(SystemClock()), own, app, service="things", routes=ROUTES)
            members.append(await stack.enter_async_context(joining))
        await asyncio.gather(*(member.ready() for member in members))
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
