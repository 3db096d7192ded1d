"""Worker: one of several processes behind the public port. It follows the registry in its parent.

`python -m blog.gateway.process.worker FD BUCKETS` is started by `workers`; it sends its statistics over
FD, a line of JSON each time, the first one once it can serve. BUCKETS is the descriptor of the memory
in which all workers count the writes of each client.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

import uvloop
from prometheus_client import CollectorRegistry

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.logs import configure, get_logger
from blog.core.net.bound_port import bind
from blog.core.net.http_client import client_session
from blog.core.output import say
from blog.core.settings import Settings, load
from blog.gateway.edge.token_buckets import TokenBuckets
from blog.gateway.process.public import PublicPort
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.stats import StatsSnapshot
from blog.lifecycle.health_endpoints import HealthEndpoints
from blog.registry.client.client import RegistryClient

STATS_INTERVAL = 0.25
DRAIN_TIME = 7.0
"""Seconds for what is in flight: less than the parent has."""

log = get_logger()


async def work(settings: Settings, stats_fd: int, buckets: int) -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    clock, stopping = SystemClock(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_reader(sys.stdin.fileno(), stopping.set)  # the parent holds the other end
    health = HealthEndpoints("worker", CollectorRegistry())
    public = PublicPort(settings, clock, RouteTable(), TokenBuckets(buckets))
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(bind(settings.host, settings.public_port, shared=True))
        http = await stack.enter_async_context(client_session())
        registry_client = await stack.enter_async_context(
            RegistryClient(
                http=http,
                registries=settings.registry,
                clock=clock,
                follow=("*",),
                token=settings.secret,
            )
        )
        await registry_client.wait_until_tried()
        await registry_client.discovery.wait_until(lambda table: table.epoch is not None)
        await stack.enter_async_context(public.listening(bound))
        await stack.enter_async_context(public.open(registry_client, http, health))
        await stack.enter_async_context(background(_report_stats(public, health, stats_fd)))
        await stopping.wait()
        await _drain(public, health)
        _send_stats(public, health, stats_fd)


async def _drain(public: PublicPort, health: HealthEndpoints) -> None:
    """Accept no new clients, finish what is in flight, then end streams."""
    unlisted, draining = asyncio.Event(), asyncio.Event()
    unlisted.set()
    async with background(public.drain(unlisted, draining)):
        try:
            async with asyncio.timeout(DRAIN_TIME):
                await health.requests.wait_until_zero()
                draining.set()
                await health.streams.wait_until_zero()
        except TimeoutError:
            log.warning("worker.drain_timed_out", open=repr(health))


async def _report_stats(public: PublicPort, health: HealthEndpoints, stats_fd: int) -> None:
    while True:
        _send_stats(public, health, stats_fd)
        await asyncio.sleep(STATS_INTERVAL)


def _send_stats(public: PublicPort, health: HealthEndpoints, stats_fd: int) -> None:
    snapshot: StatsSnapshot = public.stats.snapshot()
    snapshot.requests, snapshot.streams = health.requests.count, health.streams.count
    os.write(stats_fd, snapshot.model_dump_json().encode() + b"\n")


def main() -> None:
    """Run one worker."""
    try:
        settings = load(Settings)
        configure(settings.log_level, settings.log_format, service="gateway")
        uvloop.run(work(settings, *map(int, sys.argv[1:3])))
    except SettingsError as error:
        say(f"blog: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
