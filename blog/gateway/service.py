"""Gateway: the composition of registry, admin API, public port, registry client and drain."""

import os
import socket
from contextlib import AsyncExitStack

from blog.core.background import background
from blog.core.logs import get_logger
from blog.core.net.address import Address
from blog.core.settings import Settings, environ_of
from blog.gateway.admin import admin_app, show_routes, show_stats
from blog.gateway.known_log import registry_of
from blog.gateway.process.public import PublicPort, certificate_of
from blog.gateway.process.workers import WorkerProcesses
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.collector import StatsCollector
from blog.gateway.upstream.balancer import follow_routes
from blog.http.limits import server_options
from blog.http.listener import address_of, bind
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.lifecycle.ports import cannot_listen

SERVICE = "gateway"
PUBLIC = "public"
"""The key in the instance's metadata that holds the address of the public port."""

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
        admin = admin_app(settings, registry)
        collector = StatsCollector()
        admin.add_routes([show_routes(routes), show_stats(collector)])
        bound = _bind(settings)
        stack.callback(bound.close)
        address = address_of(bound)
        public_stack = await stack.enter_async_context(AsyncExitStack())
        public = None
        if settings.workers == 1:
            public = PublicPort(settings, lifecycle.clock, routes)
        else:
            certificate_of(settings)  # to fail here, not in every worker
        member = await stack.enter_async_context(
            Member.join(
                lifecycle,
                settings,
                admin,
                service=SERVICE,
                metadata={PUBLIC: address},
                follow=("*",),
                runner_options=server_options(),
                port=("BLOG_ADMIN_PORT", settings.admin_port),
                own_registry=settings.embed_registry,
            )
        )
        member.metrics.register(collector)
        # what uses the member's connections ends before they do
        stack.push_async_callback(public_stack.aclose)
        if registry is not None:
            member.metrics.register(registry.metrics())
        # a gateway that restarts beside another one learns the instances from its registry
        if not await lifecycle.until_stopping(member.registry_client.wait_until_tried()):
            return
        log.info("gateway.listening", public=address, admin=member.instance.address)
        if public is not None:
            collector.snapshots = lambda: [public.stats.snapshot()]
            await public_stack.enter_async_context(public.listening(bound))
            await _serve_here(stack, public, member, lifecycle)
        else:
            await _serve_by_workers(stack, settings, address, routes, collector, member, lifecycle)


async def _serve_here(
    stack: AsyncExitStack, public: PublicPort, member: Member, lifecycle: Lifecycle
) -> None:
    """Serve the public port in this process."""
    await stack.enter_async_context(public.open(member.registry_client, member.http, member.health))
    await stack.enter_async_context(background(public.drain(member.unlisted, member.draining)))
    if await lifecycle.until_stopping(_get_ready(member)):
        await member.serve_until_stopped()


async def _serve_by_workers(  # noqa: PLR0913, PLR0917 - what a composition holds
    stack: AsyncExitStack,
    settings: Settings,
    address: str,
    routes: RouteTable,
    collector: StatsCollector,
    member: Member,
    lifecycle: Lifecycle,
) -> None:
    """Run processes that serve the public port; they follow the registry of this one."""
    worker_settings = settings.model_copy(
        update={
            "public_port": Address.parse(address).port,
            "registry": member.registries,
        }
    )
    workers = WorkerProcesses(worker_settings, environ_of(worker_settings, os.environ), member.health)
    collector.snapshots = workers.snapshots
    stack.callback(follow_routes(member.discovery, routes))
    await stack.enter_async_context(workers.running())

    async def get_ready() -> None:
        await workers.wait_until_serving()
        await _get_ready(member)

    async with background(workers.drain(member.unlisted)):
        if await lifecycle.until_stopping(get_ready()):
            await member.serve_until_stopped()


def _bind(settings: Settings) -> socket.socket:
    """Bind the public port; workers share it, and this process only keeps it."""
    try:
        return bind(settings.host, settings.public_port, shared=settings.workers > 1)
    except OSError as error:
        raise cannot_listen(error, settings.host, "BLOG_PUBLIC_PORT", settings.public_port) from None


async def _get_ready(member: Member) -> None:
    """Be ready once the table is complete: until then routes may be missing."""
    await member.registry_client.wait_until_joined()
    await member.discovery.wait_until(lambda discovery: discovery.is_complete)
    await member.ready()
