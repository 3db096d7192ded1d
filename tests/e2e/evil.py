"""A service of somebody else that wants the route of `things`, and says that it started in 1970."""

import asyncio
from datetime import UTC, datetime

import uvloop
from aiohttp import web

from blog.core.clock import SystemClock
from blog.core.logs import configure
from blog.core.settings import Settings, load
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from tests.e2e.things import ROUTES


class OldClock(SystemClock):
    """A clock that was never set."""

    def now(self) -> datetime:
        """Return the beginning of Unix time."""
        return datetime(1970, 1, 1, tzinfo=UTC)


async def main() -> None:
    """Run until this process is killed."""
    settings = load(Settings)
    configure(settings.log_level, settings.log_format, service="evil")
    app = web.Application()
    lifecycle = Lifecycle(OldClock())
    async with Member.join(lifecycle, settings, app, service="evil", routes=ROUTES) as member:
        await member.ready()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
