"""Gateway: the composition of the one door: registry, inner door, public door, session, drain."""

from contextlib import AsyncExitStack

from blog.core.background import background
from blog.core.logs import get_logger, is_json
from blog.core.settings import Settings
from blog.gateway.access_log import AccessLog
from blog.gateway.door import Door
from blog.gateway.inner import inner_app, show_routes
from blog.gateway.known_log import registry_of
from blog.gateway.routing import RouteTable
from blog.gateway.stats import Stats, StatsCollector
from blog.gateway.turns import Turns
from blog.http.limits import server_options
from blog.http.listener import Listener, address_of, bind, listening
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member, cannot_listen

SERVICE = "gateway"
PUBLIC = "public"
"""The key in the instance's metadata that holds the address of the public door."""

log = get_logger()


async def run(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run a gateway until it is asked to stop and has drained.

    Raises SettingsError when one of its two ports is taken.
    """
    async with AsyncExitStack() as stack:
        registry = None
        if settings.embed_registry:
            registry = await stack.enter_async_context(registry_of(SERVICE, settings, lifecycle))
        routes, stats = RouteTable(), Stats()
        inner = inner_app(settings, registry)
        inner.add_routes([show_routes(routes)])
        access_log = AccessLog(settings.access_log, is_json=is_json(settings.log_format))
        stack.callback(access_log.flush)
        door = Door(settings, lifecycle.clock, stats, access_log)
        try:
            bound = bind(settings.host, settings.public_port)
        except OSError as error:
            raise cannot_listen(error, settings.host, "BLOG_PUBLIC_PORT", settings.public_port) from None
        public = address_of(bound)
        door_stack = await stack.enter_async_context(AsyncExitStack())
        listener = await door_stack.enter_async_context(
            listening(
                bound, door, door.places, now=lifecycle.clock.monotonic, sweep=door.sweep
            )
        )
        member = await stack.enter_async_context(
            Member.join(
                lifecycle,
                settings,
                inner,
                service=SERVICE,
                metadata={PUBLIC: public},
                follow=("*",),
                door=server_options(),
                port=("BLOG_ADMIN_PORT", settings.admin_port),
                own_registry=settings.embed_registry,
            )
        )
        # what still uses the member's connections ends before they do
        stack.push_async_callback(door_stack.aclose)
        await stack.enter_async_context(door.crew)
        member.metrics.register(StatsCollector(lambda: [stats.snapshot()]))
        turns = Turns(member.discovery, member.session.report, lifecycle.clock, stats, routes)
        door.open(member, turns)
        stack.callback(turns.follow())
        log.info("gateway.opened", public=public, inner=member.instance.address)
        await stack.enter_async_context(background(_drain(member, door, listener)))
        if await lifecycle.until_stopping(_get_ready(member)):
            await member.serve_until_stopped()


async def _get_ready(member: Member) -> None:
    """Be ready once the registry has said who is there."""
    await member.session.wait_until_joined()
    await member.discovery.wait_until(lambda discovery: discovery.epoch is not None)
    await member.ready()


async def _drain(member: Member, door: Door, listener: Listener) -> None:
    """Take no new clients once others know, and end streams when requests are over."""
    await member.unlisted.wait()
    listener.stop()
    await member.draining.wait()
    door.end_streams()
