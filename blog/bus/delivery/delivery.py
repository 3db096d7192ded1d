"""Delivery: sends batches to living instances, and hands the outcomes to their subscription."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp import hdrs

from blog.bus.delivery.dispatch import Dispatch, KeyBatch
from blog.bus.delivery.outcome import DeliveryFailure, DeliveryOutcome, parse_response
from blog.bus.delivery.subscription import RETRY_AFTER, Subscription
from blog.bus.delivery.window import Window
from blog.bus.log.log import EventLog
from blog.bus.log.schema import SubscriptionPosition
from blog.core.backoff import spread
from blog.core.clock import Clock
from blog.core.errors import BlogError, NotFound
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.core.net.instance_client import InstanceClient, InstanceFailed, InstanceUnreachable
from blog.core.reactions import PATH
from blog.registry.client.client import RegistryClient

TIMEOUT = 10.0
"""Seconds that an instance has for one batch."""
_RELEASE_AFTER = 0.02  # seconds at most until a batch that nobody got is sent elsewhere
_HEADERS: dict[str, str] = {hdrs.CONTENT_TYPE: "application/json"}

log = get_logger()


class Delivery:
    """Delivers to every subscription that living instances, or the log, know of."""

    def __init__(
        self,
        event_log: EventLog,
        registry_client: RegistryClient,
        http: aiohttp.ClientSession,
        clock: Clock,
        token: str | None,
    ) -> None:
        self._log = event_log
        self._discovery = registry_client.discovery
        self._instances = InstanceClient(http, token=token, report=registry_client.report_unhealthy)
        self._clock = clock
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._deadlines: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        """Until when responses of an instance are waited for."""
        self._subscriptions: dict[str, Subscription] = {}
        self._recorded: dict[str, frozenset[str]] = {}
        """The types of each subscription, as the log has them."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Deliver for ever. A new subscription is noticed when its instances join."""
        for on_change in (self._discovery.on_change, self._log.on_append):
            on_change(self._wake)
        self._discovery.on_change(self._stop_waiting_for_suspects)
        try:
            async with asyncio.TaskGroup() as group:
                for name, position in (await self._log.positions()).items():
                    self._recorded[name] = position.types
                    self._start(group, name, position)
                while True:
                    self._drop_windows_of_gone()
                    is_recorded = await self._update_subscriptions(group)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if is_recorded else RETRY_AFTER):
                            await self._changed.wait()
                    self._changed.clear()
        finally:
            for subscription in self._subscriptions.values():
                await subscription.flush()

    def describe(self) -> list[dict[str, Any]]:
        """Return the state of each subscription: see `Subscription.describe`."""
        return [subscription.describe() for _, subscription in sorted(self._subscriptions.items())]

    def attempts(self) -> list[tuple[str, str, int]]:
        """Return how often each outcome of a batch came: subscription, outcome, count."""
        return [
            (name, outcome, count)
            for name, subscription in sorted(self._subscriptions.items())
            for outcome, count in sorted(subscription.attempts.items())
        ]

    def find(self, name: str) -> Subscription:
        """Return the subscription of this name. Raises NotFound."""
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise NotFound("There is no subscription of this name.")
        return subscription

    def _wake(self) -> None:
        self._changed.set()
        for subscription in self._subscriptions.values():
            subscription.wake.set()

    # -- instances -----------------------------------------------------------------------------------

    def _stop_waiting_for_suspects(self) -> None:
        """Expire the deadlines of suspect instances: another one can have their events."""
        now = asyncio.get_running_loop().time()
        for id_, deadlines in self._deadlines.items():
            if self._is_suspect(id_):
                for deadline in deadlines:
                    if not deadline.expired():  # one that is just ending cannot be changed any more
                        deadline.reschedule(now)

    def _is_suspect(self, id_: str) -> bool:
        """Return whether an instance is lost, or suspect while another one of its service is ready."""
        instance = self._discovery.instances.get(id_)
        if instance is None:
            return True
        serving = self._discovery.serving(instance.service)
        return instance.state is State.SUSPECT and any(one.state is State.READY for one in serving)

    def _drop_windows_of_gone(self) -> None:
        """Drop the windows of instances that are gone and have no batch: each start is a new one."""
        known = self._discovery.instances
        gone = [id_ for id_, window in self._windows.items() if not window.in_flight and id_ not in known]
        for id_ in gone:
            del self._windows[id_]

    def _select(self, service: str, excluded: Collection[str]) -> Instance | None:
        """Return the next instance that may get a batch, None without any."""
        serving = self._discovery.serving(service)
        full = {item.id for item in serving if not self._windows[item.id].is_open()}.union(excluded)
        if len(full) == len(serving):
            return None
        return self._discovery.next(service, full)

    def _types_for(self, subscription: Subscription, instance: Instance) -> Collection[str] | None:
        """Return the types of events that `instance` may get, None for all.

        While versions of a service run side by side, events of a new type go to instances that know it,
        and wait for one that is still starting. A type that no living instance knows is one that the
        service has given up: any instance may pass its events over.
        """
        if subscription.types <= set(instance.reactions):
            return None
        living = self._discovery.instances.values()
        known = {type_ for one in living if one.service == subscription.name for type_ in one.reactions}
        return subscription.types - known | set(instance.reactions)

    # -- subscriptions -------------------------------------------------------------------------------

    async def _update_subscriptions(self, group: asyncio.TaskGroup) -> bool:
        """Subscribe to what living instances react to; return whether the log has all of it."""
        types_of: defaultdict[str, set[str]] = defaultdict(set)
        for instance in self._discovery.instances.values():
            if instance.reactions:
                types_of[instance.service] |= set(instance.reactions)
        return all([await self._subscribe(group, name, types) for name, types in types_of.items()])

    async def _subscribe(self, group: asyncio.TaskGroup, name: str, types: set[str]) -> bool:
        known = self._subscriptions.get(name)
        if known is not None:
            known.types |= types  # at once: what is appended meanwhile is not passed over
            types = known.types
        if types <= self._recorded.get(name, frozenset()):
            return True
        recorded = frozenset(types)
        try:
            await self._log.subscribe(name, recorded)
        except BlogError as error:  # a full disk, for instance: it is tried again
            log.warning("delivery.not_subscribed", subscription=name, reason=error.detail)
            return False
        self._recorded[name] = recorded
        if known is None:
            self._start(group, name, SubscriptionPosition(recorded))
        return True

    def _start(self, group: asyncio.TaskGroup, name: str, position: SubscriptionPosition) -> None:
        subscription = Subscription(name, position, self._log, self._clock)
        self._subscriptions[name] = subscription
        group.create_task(self._serve(subscription))

    async def _serve(self, subscription: Subscription) -> None:
        """Send what may be sent, as long as an instance has room for it."""
        async with asyncio.TaskGroup() as group:
            while True:
                subscription.wake.clear()
                await subscription.refill()
                self._send(subscription, group)
                await subscription.wait()

    def _send(self, subscription: Subscription, group: asyncio.TaskGroup) -> None:
        dispatch = subscription.dispatch
        excluded: set[str] = set()
        while not subscription.is_paused and dispatch.may_send(now := self._clock.monotonic()):
            instance = self._select(subscription.name, excluded)
            if instance is None:
                return
            window, types = self._windows[instance.id], self._types_for(subscription, instance)
            batch = dispatch.next_batch(now, window.batch_size, types)
            if batch:
                window.in_flight += 1
                group.create_task(self._deliver(subscription, dispatch, batch, instance))
            else:
                excluded.add(instance.id)

    # -- attempts ------------------------------------------------------------------------------------

    async def _deliver(
        self,
        subscription: Subscription,
        dispatch: Dispatch,
        batch: Sequence[KeyBatch],
        instance: Instance,
    ) -> None:
        """Make one attempt: send what `dispatch` returned, and record the outcome."""
        window = self._windows[instance.id]
        began = perf_counter()
        try:
            outcome = await self._post(subscription.name, batch, instance)
            took = perf_counter() - began
        except InstanceUnreachable:
            subscription.attempts["not_sent"] += len(batch)
            # not at once: news of the instance may be on its way
            await asyncio.sleep(spread(0.0, _RELEASE_AFTER))
            for key_batch in batch:
                dispatch.release(key_batch)
        else:
            if not isinstance(outcome, DeliveryFailure):
                window.grow(sum(len(key_batch.entries) for key_batch in batch), took)
            elif outcome.is_overload:
                window.halve()
            if dispatch is subscription.dispatch:
                await subscription.record_outcome(batch, outcome)
            else:
                subscription.attempts["superseded"] += len(batch)  # by a replay
        finally:
            window.in_flight -= 1
            subscription.wake.set()

    async def _post(self, name: str, batch: Sequence[KeyBatch], instance: Instance) -> DeliveryOutcome:
        """Send a batch to `instance`. Raises InstanceUnreachable when the instance did not get it."""
        events = ",".join(entry.envelope for key_batch in batch for entry in key_batch.entries)
        body = f'{{"subscription":"{name}","attempt":{batch[0].attempt},"events":[{events}]}}'.encode()
        try:
            with self._deadline(instance.id) as deadline:
                status, headers, content = await self._instances.request(
                    instance, hdrs.METH_POST, PATH, timeout=deadline, headers=_HEADERS, data=body
                )
        except InstanceFailed as error:
            if not error.is_timeout:
                return DeliveryFailure(str(error))
            if not self._is_suspect(instance.id):
                return DeliveryFailure(f"no response within {TIMEOUT:g} s", is_overload=True)
            if error.is_sent:
                return DeliveryFailure("it is suspect or lost, and has not responded")
            raise InstanceUnreachable(instance, "it is suspect or lost, and got nothing") from None
        return parse_response(batch, status, headers.get(hdrs.RETRY_AFTER, ""), content)

    @contextmanager
    def _deadline(self, id_: str) -> Iterator[asyncio.Timeout]:
        """Yield a timeout, to be entered at once, that expires early if the instance becomes suspect."""
        deadline = asyncio.timeout(TIMEOUT)
        self._deadlines[id_].add(deadline)
        try:
            yield deadline
        finally:
            self._deadlines[id_].discard(deadline)
            if not self._deadlines[id_]:
                del self._deadlines[id_]

    def __repr__(self) -> str:
        """Show the subscriptions."""
        return f"<Delivery: {list(self._subscriptions.values())}>"
