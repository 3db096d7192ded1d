"""Run: the composition of one service instance: settings → port → registry → view → ready → drain."""

from contextlib import AsyncExitStack
from functools import partial

from prometheus_client import Gauge

from blog.core.background import background
from blog.core.contract import Service
from blog.core.logs import get_logger
from blog.core.net.access_policy import AccessPolicy
from blog.core.settings import Settings, load
from blog.eventlog.client import EventLogClient
from blog.http.limits import BODY_LIMIT, server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.log_identity import BUS
from blog.runtime.binding import ArgumentSource, bind
from blog.runtime.catalog import broken
from blog.runtime.commands import CommandRunner
from blog.runtime.handler_context import HandlerContext
from blog.runtime.reactions import ReactionRunner
from blog.runtime.view.folder import view_folder
from blog.runtime.view.host import ViewHost
from blog.runtime.view.transfer import SnapshotFetcher
from blog.runtime.web import make_app

VIEW_APPLIED = "The last sequence of the log that the view holds."

log = get_logger()


async def run(service: Service, settings: Settings, lifecycle: Lifecycle) -> None:
    """Run one instance of `service` until it is told to stop and has drained.

    Raises SettingsError when a setting is invalid, the port is taken, or the contract cannot be run.
    """
    own_settings = load(service.settings) if service.settings else None
    context = HandlerContext(service, own_settings)
    largest = max((route.body_limit or 0 for route in service.routes), default=0)
    try:
        app = make_app(context, AccessPolicy(settings.tokens), max(BODY_LIMIT, largest))
    except Exception as error:  # noqa: BLE001 - only the contract is read: it is what is wrong
        raise broken(service.name, error) from None
    async with Member.join(
        lifecycle,
        settings,
        app,
        service=service.name,
        routes=service.routes,
        reactions=tuple(service.reactions),
        metadata=service.metadata,
        follow=followed(service),
        runner_options=server_options(),
    ) as member:
        context.member = member
        async with AsyncExitStack() as stack:
            bus = context.bus = await stack.enter_async_context(
                EventLogClient(member.discovery, member.http, lifecycle.clock, settings.secret)
            )
            if service.view is not None:
                folder = await stack.enter_async_context(view_folder(settings.data_dir, service.name))
                fetch = SnapshotFetcher(member, service.view, settings.secret).fetch
                context.view = await stack.enter_async_context(
                    ViewHost.open(service.view, folder, bus, fetch)
                )
                await stack.enter_async_context(background(context.view.follow_log()))
                applied = Gauge("blog_view_applied", VIEW_APPLIED, registry=member.metrics)
                applied.set_function(partial(getattr, context.view, "applied"))
            context.commands = CommandRunner(service.name, bus, lifecycle.clock)
            context.reactor = ReactionRunner(service, lifecycle.clock, own_settings, context.view)
            if await lifecycle.until_stopping(_get_ready(context)):
                await member.serve_until_stopped()


def followed(service: Service) -> tuple[str, ...]:
    """Name the services that an instance follows: the bus, replicas that have its view, peers."""
    if calls_peers(service):
        return ("*",)
    return (BUS,) if service.view is None else (BUS, service.name)


def calls_peers(service: Service) -> bool:
    """Return whether its handlers may call other services: such an instance follows all of them."""
    return any(bind(endpoint).has(ArgumentSource.PEERS) for endpoint in service.endpoints)


async def _get_ready(context: HandlerContext) -> None:
    """Catch up with the log, open the routes, and announce that it is ready."""
    await context.member.registry_client.wait_until_joined()
    if context.view is not None:
        await context.view.catch_up_at_start()
        log.info("view.caught_up", applied=context.view.applied)
    context.is_open = True
    await context.member.ready()
