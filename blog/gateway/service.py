"""Gateway: the composition of the one door: registry, inner door, public door, session, drain."""

from contextlib import AsyncExitStack

from blog.core.background import background
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.gateway.door import Door
from blog.gateway.inner import inner_app, show_routes
from blog.gateway.known_log import registry_of
from blog.gateway.routing import RouteTable
from blog.gateway.turns import Turns
from blog.http.limits import server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member, listen

SERVICE = "gateway"
PUBLIC = "public"
"""The key in the instance's metadata that holds the address of the public door."""

_CLOSE_TIMEOUT = 0.05  # draining is over by then; aiohttp reads 0 as "for ever"

log = get_logger()


async def run(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run a gateway until it is asked to stop and has drained.

    Raises SettingsError when one of its two ports is taken.
    """
    async with AsyncExitStack() as stack:
        registry = None
        if settings.embed_registry:
            registry = await stack.enter_async_context(registry_of(SERVICE, settings, lifecycle))
        routes = RouteTable()
        inner = inner_app(settings, registry)
        inner.add_routes([show_routes(routes)])
        door = Door(settings)
        public = door.runner(_CLOSE_TIMEOUT)
        await public.setup()
        stack.push_async_callback(public.cleanup)
        address = await listen(public, settings.host, "BLOG_PUBLIC_PORT", settings.public_port)
        member = await stack.enter_async_context(
            Member.join(
                lifecycle,
                settings,
                inner,
                service=SERVICE,
                metadata={PUBLIC: address},
                follow=("*",),
                door=server_options(),
                port=("BLOG_ADMIN_PORT", settings.admin_port),
                own_registry=settings.embed_registry,
            )
        )
        # a second time, to come first: what still uses the member's connections ends before they do
        stack.push_async_callback(public.cleanup)
        turns = Turns(member.discovery, member.session.report, lifecycle.clock, member.metrics, routes)
        stack.callback(turns.follow())
        door.open(member, turns)
        log.info("gateway.opened", public=address, inner=member.instance.address)
        await stack.enter_async_context(background(_end_streams(member, door)))
        if await lifecycle.until_stopping(_get_ready(member)):
            await member.serve_until_stopped()


async def _get_ready(member: Member) -> None:
    """Be ready once the registry has said who is there."""
    await member.session.wait_until_joined()
    await member.discovery.wait_until(lambda discovery: discovery.epoch is not None)
    await member.ready()


async def _end_streams(member: Member, door: Door) -> None:
    await member.draining.wait()
    door.end_streams()
