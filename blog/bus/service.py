"""The bus: one log behind HTTP, and reactions to one living instance each."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from blog.bus.adoption import LogAdoption
from blog.bus.api.append_fastpath import AppendFastPath
from blog.bus.api.routes import Routes
from blog.bus.delivery.delivery import Delivery
from blog.bus.log.log import EventLog
from blog.bus.metrics import BusCollector
from blog.core.background import background, first_of
from blog.core.errors import SettingsError
from blog.core.files.data_dir import unusable
from blog.core.files.lock import LockedError
from blog.core.logs import get_logger
from blog.core.net.access_policy import AccessPolicy
from blog.core.settings import Settings
from blog.eventlog.wire import SERVICE
from blog.http.limits import server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.log_identity import LOG_KEY

_LOCK_RETRY = 0.2  # seconds between tries of a standby to get the log's lock

log = get_logger()


async def run(settings: Settings, lifecycle: Lifecycle, *, adopt: bool = False) -> None:
    """Run the bus until it is asked to stop. While another process has the log it stands by.

    Raises SettingsError when the registry knows another log than this one, unless `adopt`, or when the
    log cannot be written.
    """
    async with _opened(settings, lifecycle) as event_log:
        if event_log is None:
            return
        routes = Routes(event_log)
        policy = AccessPolicy(settings.tokens)
        fast_path = AppendFastPath(event_log, policy, lifecycle.clock)
        async with Member.join(
            lifecycle,
            settings,
            routes.app(policy),
            service=SERVICE,
            metadata={LOG_KEY: event_log.identity},
            follow=("*",),
            runner_options=server_options(),
            fast_path=fast_path,
        ) as member:
            fast_path.open(member)
            routes.followers.open(member)
            delivery = Delivery(
                event_log, member.registry_client, member.http, lifecycle.clock, settings.secret
            )
            routes.admin.delivery = delivery
            collector = BusCollector(event_log, delivery, routes.followers.positions, lifecycle.clock.now)
            member.metrics.register(collector)
            registries = member.registries if adopt else ()
            adoption = LogAdoption(event_log.identity, registries, settings.secret)
            async with background(delivery.run(), adoption.run(member.http)):
                if await lifecycle.until_stopping(_get_ready(member, event_log, adoption)):
                    await member.serve_until_stopped()


def log_path(settings: Settings) -> Path:
    """Return where the log is."""
    return settings.data_dir / SERVICE / "log.db"


async def _get_ready(member: Member, event_log: EventLog, adoption: LogAdoption) -> None:
    is_adopted = await adoption.is_accepted()
    await member.registry_client.wait_until_joined()
    if is_adopted:
        await member.ready()
    else:  # until it is ready, a bus with another log may be so first
        await first_of(_end_by_another(member, event_log), member.ready())


async def _end_by_another(member: Member, event_log: EventLog) -> None:
    """Raise SettingsError once a registry turns us away, because it knows another log."""
    logs, ours = member.registry_client.logs, event_log.identity

    def another() -> str | None:
        return next((log for log in logs.values() if log not in (None, ours)), None)

    await member.discovery.wait_until(lambda _: another() is not None)
    raise SettingsError(
        f"The log in {event_log.path} is {ours}, but the registry knows {another()}:"
        " start the bus with the data directory of that log, or accept this one: `blog bus --adopt`."
    )


@asynccontextmanager
async def _opened(settings: Settings, lifecycle: Lifecycle) -> AsyncIterator[EventLog | None]:
    """Open the log; wait as a standby while another process has it. None when asked to stop."""
    is_standby = False
    path = log_path(settings)
    while not lifecycle.stopping.is_set():
        opening = EventLog.open(path)
        try:
            event_log = await opening.__aenter__()
        except LockedError:
            if not is_standby:
                log.warning("log.locked", path=str(path), next="standing by until it is free")
                is_standby = True
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOCK_RETRY):
                    await lifecycle.stopping.wait()
            continue
        except (OSError, sqlite3.Error) as error:
            raise unusable(settings.data_dir, path, error) from None
        try:
            yield event_log
        finally:
            await opening.__aexit__(None, None, None)
        return
    yield None
