"""Delivery: carries loads to living instances and what comes of them back to their subscription."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from blog.bus.delivery.dispatch import Dispatch, KeyBatch
from blog.bus.delivery.outcome import DeliveryFailure, NotSentError, read_answer
from blog.bus.delivery.subscription import AGAIN_AFTER, Subscription
from blog.bus.delivery.window import Window
from blog.bus.log.log import EventLog
from blog.bus.log.schema import SubscriptionPosition
from blog.core.clock import Clock
from blog.core.errors import BlogError, NotFound
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.core.net.http_client import read_response
from blog.core.reactions import PATH, Result
from blog.core.web import INSTANCE_HEADER, bearer
from blog.registry.client.client import RegistryClient

TIMEOUT = 10.0
"""Seconds that an instance has for one load."""

log = get_logger()


class _Payload(aiohttp.BytesPayload):
    """A body that knows whether it was sent: what was not is no attempt."""

    is_sent = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it."""
        self.is_sent = True
        await super().write_with_length(writer, content_length)


class Delivery:
    """Delivers to every subscription that living instances, or the log, know of."""

    def __init__(
        self,
        journal: EventLog,
        registry_client: RegistryClient,
        http: aiohttp.ClientSession,
        clock: Clock,
        token: str | None,
    ) -> None:
        self._log = journal
        self._registry_client = registry_client
        self._http = http
        self._clock = clock
        self._headers = {"Content-Type": "application/json", **bearer(token)}
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._waiting: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        """How long answers of an instance are waited for."""
        self._running: dict[str, Subscription] = {}
        self._remembered: dict[str, frozenset[str]] = {}
        """Which types the log knows that a subscription has."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Deliver for ever. New subscriptions are noticed as their instances join."""
        discovery = self._registry_client.discovery
        for on_news in (discovery.on_change, self._log.on_append):
            on_news(self._wake)
        discovery.on_change(self._give_up_on_doubtful)
        try:
            async with asyncio.TaskGroup() as group:
                for name, position in (await self._log.positions()).items():
                    self._remembered[name] = position.types
                    self._start(group, name, position)
                while True:
                    self._forget_gone()
                    is_remembered = await self._learn(group)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if is_remembered else AGAIN_AFTER):
                            await self._changed.wait()
                    self._changed.clear()
        finally:
            for running in self._running.values():
                await running.flush()

    def table(self) -> list[dict[str, Any]]:
        """Describe every subscription: see `Subscription.row`."""
        return [running.row() for _, running in sorted(self._running.items())]

    def attempts(self) -> list[tuple[str, str, int]]:
        """List how often what came of a batch: subscription, outcome, count."""
        return [
            (name, outcome, count)
            for name, running in sorted(self._running.items())
            for outcome, count in sorted(running.attempts.items())
        ]

    def find(self, name: str) -> Subscription:
        """Return the subscription of this name. Raises NotFound."""
        running = self._running.get(name)
        if running is None:
            raise NotFound("Nobody has subscribed by that name.")
        return running

    def _wake(self) -> None:
        self._changed.set()
        for running in self._running.values():
            running.wake.set()

    def _give_up_on_doubtful(self) -> None:
        """Wait no longer for who is lost, or is suspect while another one is not: that one can try."""
        now = asyncio.get_running_loop().time()
        for id_, scopes in self._waiting.items():
            if self._is_doubtful(id_):
                for scope in scopes:
                    if not scope.expired():  # one that is just ending cannot be changed any more
                        scope.reschedule(now)

    def _forget_gone(self) -> None:
        """Keep no window of who is gone and has nothing any more: every start is another instance."""
        known = self._registry_client.discovery.instances
        gone = [id_ for id_, window in self._windows.items() if not window.in_flight and id_ not in known]
        for id_ in gone:
            del self._windows[id_]

    def _is_doubtful(self, id_: str) -> bool:
        discovery = self._registry_client.discovery
        instance = discovery.instances.get(id_)
        if instance is None:
            return True
        serving = discovery.serving(instance.service)
        return instance.state is State.SUSPECT and any(one.state is State.READY for one in serving)

    async def _learn(self, group: asyncio.TaskGroup) -> bool:
        """Take over what living instances say they react to; tell whether the log remembers it all."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for instance in self._registry_client.discovery.instances.values():
            if instance.reactions:
                wanted[instance.service] |= set(instance.reactions)
        return all([await self._subscribe(group, name, types) for name, types in wanted.items()])

    async def _subscribe(self, group: asyncio.TaskGroup, name: str, types: set[str]) -> bool:
        known = self._running.get(name)
        if known is not None:
            known.types |= types  # at once: what is appended meanwhile is not passed over
            types = known.types
        if types <= self._remembered.get(name, frozenset()):
            return True
        wanted = frozenset(types)
        try:
            await self._log.subscribe(name, wanted)
        except BlogError as error:  # a full disk, for instance: it is asked again
            log.warning("delivery.not_subscribed", subscription=name, why=error.detail)
            return False
        self._remembered[name] = wanted
        if known is None:
            self._start(group, name, SubscriptionPosition(wanted))
        return True

    def _start(self, group: asyncio.TaskGroup, name: str, position: SubscriptionPosition) -> None:
        self._running[name] = running = Subscription(name, position, self._log, self._clock)
        group.create_task(self._serve(running))

    async def _serve(self, running: Subscription) -> None:
        """Send out what may go, as long as somebody has room for it."""
        async with asyncio.TaskGroup() as group:
            while True:
                running.wake.clear()
                await running.refill()
                cannot: set[str] = set()
                while self._may_send(running) and (instance := self._turn(running.name, cannot)):
                    window, types = self._windows[instance.id], self._types_for(running, instance)
                    dispatch = running.dispatch
                    load = dispatch.next_load(self._clock.monotonic(), window.room, types)
                    if not load:
                        cannot.add(instance.id)
                        continue
                    window.in_flight += 1
                    group.create_task(self._carry(running, dispatch, load, instance))
                await running.wait()

    def _may_send(self, running: Subscription) -> bool:
        return not running.is_paused and running.dispatch.may_send(self._clock.monotonic())

    def _turn(self, service: str, cannot: Collection[str]) -> Instance | None:
        serving = self._registry_client.discovery.serving(service)
        full = {item.id for item in serving if not self._windows[item.id].is_open()}.union(cannot)
        if len(full) == len(serving):
            return None
        return self._registry_client.discovery.next(service, full)

    def _types_for(self, running: Subscription, instance: Instance) -> Collection[str] | None:
        """Say which events `instance` may have, None for all.

        While versions of a service run side by side, a new type goes to those who know it, and waits for
        one that is still starting. What none that lives knows is what the service has left behind:
        anybody may pass it over.
        """
        if running.types <= set(instance.reactions):
            return None
        living = self._registry_client.discovery.instances.values()
        known = {type_ for one in living if one.service == running.name for type_ in one.reactions}
        return running.types - known | set(instance.reactions)

    async def _carry(
        self, running: Subscription, dispatch: Dispatch, load: Sequence[KeyBatch], instance: Instance
    ) -> None:
        """One attempt: post what `dispatch` gave, and put down what came of it."""
        window = self._windows[instance.id]
        began = perf_counter()
        try:
            outcome = await self._post(running.name, load, instance)
            took = perf_counter() - began
        except NotSentError as error:
            running.attempts["not_sent"] += len(load)
            self._registry_client.report_unhealthy(instance.id, str(error))
            await asyncio.sleep(_pause())
            for batch in load:
                dispatch.put_back(batch)
        else:
            if not isinstance(outcome, DeliveryFailure):
                window.grow(sum(len(batch.entries) for batch in load), took)
            elif outcome.is_too_much:
                window.halve()
            if dispatch is running.dispatch:
                await running.put_down(load, outcome)
            else:
                running.attempts["superseded"] += len(load)  # by a replay
        finally:
            window.in_flight -= 1
            running.wake.set()

    async def _post(
        self, name: str, load: Sequence[KeyBatch], instance: Instance
    ) -> Sequence[Result] | DeliveryFailure:
        events = ",".join(entry.envelope for batch in load for entry in batch.entries)
        body = f'{{"subscription":"{name}","attempt":{load[0].attempt},"events":[{events}]}}'
        payload = _Payload(body.encode())
        scope = asyncio.timeout(TIMEOUT)
        self._waiting[instance.id].add(scope)
        try:
            async with (
                scope,
                self._http.post(
                    f"http://{instance.address}{PATH}",
                    data=payload,
                    headers={INSTANCE_HEADER: instance.id, **self._headers},
                ) as response,
            ):
                answer = await read_response(response)
                return read_answer(load, response.status, response.headers.get("Retry-After", ""), answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(str(error)) from error
        except TimeoutError:
            if self._is_doubtful(instance.id):
                if not payload.is_sent:
                    raise NotSentError("it is suspect or lost, and has taken nothing") from None
                return DeliveryFailure("it is suspect or lost, and has not answered")
            return DeliveryFailure(f"no answer within {TIMEOUT} s", is_too_much=True)
        except (aiohttp.ClientError, OSError) as error:
            return DeliveryFailure(str(error) or repr(error))
        finally:
            self._waiting[instance.id].discard(scope)
            if not self._waiting[instance.id]:
                del self._waiting[instance.id]


def _pause() -> float:
    """Return seconds to wait before somebody else is tried: the table may be about to change."""
    return random.uniform(0.0, 0.02)  # noqa: S311 - no secret
