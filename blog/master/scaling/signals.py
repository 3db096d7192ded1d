"""Signals: the load of a running blog, read from registry, gateway and bus. It decides nothing.

A source that does not respond makes a value unknown, never zero.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import aiohttp
from pydantic import BaseModel, Field

from blog.core import tolerant
from blog.core.clock import Clock
from blog.core.instance import MAX_COUNT, Instance, State
from blog.core.logs import get_logger
from blog.core.net.http_client import read_response
from blog.core.row_reader import read_rows
from blog.core.web import bearer
from blog.gateway.telemetry.stats import ServiceStatsSnapshot, StatsSnapshot
from blog.master.scaling.autoscale import ServiceLoad
from blog.master.scaling.traffic import RequestRate, TrafficHistory
from blog.registry.log_identity import BUS

TIMEOUT = 1.0
"""Seconds that a source has for its response."""
_APPLIED = re.compile(rb"^blog_view_applied (\S+)$", re.MULTILINE)
_READ_ERRORS = (
    aiohttp.ClientError,
    OSError,  # TimeoutError too
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
)

T = TypeVar("T")
log = get_logger()


class SubscriptionRow(BaseModel):
    """What is read of a row of the bus's subscriptions."""

    name: str
    paused: bool
    waiting: Annotated[int, Field(ge=0, le=MAX_COUNT)]


class LoadSignals:
    """Reads with `http` from the gateway's admin API at `url`, and from the instances that it lists.

    Rows that cannot be read are passed over; `passed_over` has a line for each, by the list they are in.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str | None, clock: Clock) -> None:
        self.instances: list[Instance] = []
        self.passed_over: dict[str, list[str]] = {}
        self._http = http
        self._url = url
        self._headers = bearer(token)
        self._clock = clock
        self._traffic = TrafficHistory()
        self._subscriptions: dict[str, SubscriptionRow] = {}
        self._since: dict[str, tuple[State, datetime]] = {}

    async def refresh(self) -> None:
        """Read all three once; the registry first, because it knows where the bus is."""
        await self._read_registry()
        await asyncio.gather(self._read_gateway(), self._read_bus())

    def load(self, service: str) -> ServiceLoad:
        """Return the load of all ready instances of `service` together."""
        ready = [one for one in self.instances if one.service == service and one.is_serving()]
        # each sees what the other does not: calls by peers and reactions; requests that wait to be sent
        seen = [sum(one.load.in_flight for one in ready), self._traffic.in_flight(service) or 0]
        return ServiceLoad(in_flight=max(seen) if ready else None, lag=self.waiting(service))

    def rate(self, service: str) -> RequestRate:
        """Return the requests per second that go through the gateway."""
        return self._traffic.rate(service)

    def waiting(self, service: str) -> int | None:
        """Return how many events wait for the reactions of `service`.

        None: it has none, they are paused (more replicas would not help), or the bus does not respond.
        """
        row = self._subscriptions.get(service)
        return None if row is None or row.paused else row.waiting

    def since(self, instance: Instance) -> datetime:
        """Return since when an instance has been in its state, as far as that was observed."""
        state, since = self._since.get(instance.id, (instance.state, instance.running_since))
        return since if state is instance.state else self._clock.now()

    async def lags(self) -> dict[str, int]:
        """Return for each instance with a view, by id, how many events of the log it has yet to apply."""
        head = await self._head()
        if head is None:
            return {}
        instances = self.instances  # a refresh meanwhile has others
        applied_by = await asyncio.gather(*(self._applied(one) for one in instances))
        return {
            one.id: max(0, head - applied)
            for one, applied in zip(instances, applied_by, strict=True)
            if applied is not None
        }

    async def _read_registry(self) -> None:
        try:
            services = (await self._json(f"{self._url}/v1/services"))["services"]
            rows = [row for rows in services.values() if isinstance(rows, list) for row in rows]
            self.instances = self._readable("instances", rows, _instance)
        except _READ_ERRORS:
            self.instances = []
            return
        self._record_states(self.instances)

    def _record_states(self, instances: Iterable[Instance]) -> None:
        known, now = self._since, self._clock.now()
        first = not known
        self._since = {
            one.id: known[one.id]
            if one.id in known and known[one.id][0] is one.state
            else (one.state, one.running_since if first else now)
            for one in instances
        }

    async def _read_gateway(self) -> None:
        try:
            stats = await self._json(f"{self._url}/v1/stats")
            services = self._readable("statistics", stats.pop("services").items(), _service_stats)
            snapshot = StatsSnapshot(services=dict(services))
        except _READ_ERRORS:
            self._traffic.clear()
        else:
            self._traffic.add(snapshot, self._clock.monotonic())

    async def _read_bus(self) -> None:
        try:
            rows = await self._json(f"http://{self._bus()}/subscriptions")
            found = self._readable("subscriptions", rows, _subscription)
            self._subscriptions = {row.name: row for row in found}
        except _READ_ERRORS:
            self._subscriptions = {}

    async def _head(self) -> int | None:
        try:
            return _count((await self._json(f"http://{self._bus()}/events/head"))["sequence"])
        except _READ_ERRORS:
            return None

    async def _applied(self, instance: Instance) -> int | None:
        try:
            found = _APPLIED.search(await self._body(f"http://{instance.address}/metrics"))
            return _count(float(found[1])) if found else None
        except _READ_ERRORS:
            return None

    def _readable(self, what: str, rows: Iterable[Any], parse: Callable[[Any], T]) -> list[T]:
        """Return the rows that can be read; each other one is logged when it is new."""
        found = read_rows(rows, parse)
        known = frozenset(self.passed_over.get(what, ()))
        self.passed_over[what] = found.passed_over
        for row in found.passed_over:
            if row not in known:
                log.warning("row.passed_over", list=what, row=row)
        return found.rows

    def _bus(self) -> str:
        """Return where the bus is. Raises LookupError."""
        for one in self.instances:
            if one.service == BUS and one.is_serving():
                return one.address
        raise LookupError(BUS)

    async def _json(self, url: str) -> Any:
        return tolerant.parse(await self._body(url))

    async def _body(self, url: str) -> bytes:
        async with self._http.get(
            url, headers=self._headers, timeout=_timeout(), allow_redirects=False
        ) as response:
            response.raise_for_status()
            return await read_response(response)

    def __repr__(self) -> str:
        """Show what is known."""
        return f"<LoadSignals: {len(self.instances)} instances, {len(self._subscriptions)} subscriptions>"


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=TIMEOUT)


def _instance(row: object) -> Instance:
    return Instance.read(row).required()


def _subscription(row: object) -> SubscriptionRow:
    return tolerant.read(SubscriptionRow, row).required()


def _service_stats(item: tuple[str, Any]) -> tuple[str, ServiceStatsSnapshot]:
    name, stats = item
    return name, ServiceStatsSnapshot.model_validate(stats)


def _count(value: float) -> int:
    """Return a number of events. Raises ValueError if it cannot be one, OverflowError for infinity."""
    if not 0 <= int(value) <= MAX_COUNT:
        raise ValueError(f"{value} is not a number of events")
    return int(value)
