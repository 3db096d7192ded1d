"""Probes: `GET /readyz` at an instance's address; only a response of the instance that is meant counts.

At most one probe of an instance at a time. If one is reported during a probe, or just after it, another
probe follows a moment later: the first one may have started too early.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple, Self

from blog.core.background import TaskSupervisor
from blog.core.instance import Instance
from blog.core.net.http_client import client_session
from blog.core.net.instance_client import (
    InstanceClient,
    InstanceFailed,
    InstanceMisdirected,
    InstanceStream,
    InstanceUnreachable,
)
from blog.core.net.resolver import connector
from blog.core.web import INSTANCE_HEADER
from blog.registry.server.transitions import ProbeResult

PROBE_TIMEOUT = 0.3
DIAL_BACK_TIMEOUT = 1.0
REPORTS_INTERVAL = 0.05
"""Seconds between probes of one instance, however many reports there are of it."""
# seconds between tries: a process that is being killed closes its sockets one after the other
_RETRY_AFTER = (0.01, 0.03, 0.09)
_BROKEN = "every connection was closed without a response"


class ProbeOutcome(NamedTuple):
    """What a probe found, and why; `is_ready` when the status was 200."""

    result: ProbeResult
    why: str
    is_ready: bool = False


class Prober:
    """Probes instances, each time over a new connection."""

    def __init__(self, client: InstanceClient) -> None:
        self._client = client

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["Prober"]:
        """Make one with a client that keeps no connections: an open one would prove nothing.

        It sends no token: the address is what a joiner says, and `/readyz` needs none.
        """
        closing = connector(force_close=True, limit=0)
        async with client_session(reads_bodies=False, connector=closing) as http:
            yield Prober(InstanceClient(http))

    async def probe(self, instance: Instance, timeout: float, *, is_retried: bool = True) -> ProbeOutcome:
        """Return whether the instance responds within `timeout` seconds; never raises.

        A connection that is accepted and then reset proves nothing: it `is_retried` a few times.
        """
        try:
            async with asyncio.timeout(timeout):
                for pause in _RETRY_AFTER if is_retried else ():
                    if (outcome := await self._ask(instance)) is not None:
                        return outcome
                    await asyncio.sleep(pause)
                return await self._ask(instance) or ProbeOutcome(ProbeResult.SILENT, _BROKEN)
        except TimeoutError:
            return ProbeOutcome(ProbeResult.SILENT, f"no response within {timeout} s")

    async def _ask(self, instance: Instance) -> ProbeOutcome | None:
        """Ask once; None when the connection broke before a response."""
        try:
            async with self._client.stream(instance, "GET", "/readyz", silence=None) as response:
                return _outcome_of(instance, response)
        except InstanceMisdirected as error:
            return ProbeOutcome(ProbeResult.REFUSED, str(error))
        except InstanceUnreachable as error:
            result = ProbeResult.REFUSED if error.is_refused else ProbeResult.SILENT
            return ProbeOutcome(result, str(error))
        except InstanceFailed:
            return None


class ProbeScheduler:
    """Runs `probe` for instances by their ids; `probe` never raises."""

    def __init__(self, probe: Callable[[str], Awaitable[None]]) -> None:
        self._probe = probe
        self._again: dict[str, bool] = {}
        self._tasks = TaskSupervisor("probe")
        self._is_open = False

    def is_scheduled(self, instance_id: str) -> bool:
        """Return whether the instance is being probed, or was a moment ago."""
        return instance_id in self._again

    def schedule(self, instance_id: str) -> None:
        """Probe the instance now, or once more after the probe that is under way."""
        if instance_id in self._again:
            self._again[instance_id] = True
        elif self._is_open:
            self._again[instance_id] = False
            self._tasks.start(self._run(instance_id))

    async def _run(self, instance_id: str) -> None:
        try:
            await self._probe(instance_id)
            await asyncio.sleep(REPORTS_INTERVAL)
            while self._again[instance_id]:
                self._again[instance_id] = False
                await self._probe(instance_id)
                await asyncio.sleep(REPORTS_INTERVAL)
        finally:
            del self._again[instance_id]

    async def __aenter__(self) -> Self:
        self._is_open = True
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        await self._tasks.__aexit__()

    def __repr__(self) -> str:
        """Show the instances that are being probed."""
        return f"<ProbeScheduler of {', '.join(self._again) or 'no instance'}>"


def _outcome_of(instance: Instance, response: InstanceStream) -> ProbeOutcome:
    responder = response.headers.get(INSTANCE_HEADER)
    if responder != instance.id:
        # another instance, or another program, has the address now: the one that is meant is gone
        why = f"{responder or 'a program that is no instance'} responds there"
        return ProbeOutcome(ProbeResult.REFUSED, why)
    is_ready = response.status == HTTPStatus.OK
    return ProbeOutcome(ProbeResult.ANSWERED, f"GET /readyz returned {response.status}", is_ready)
