"""Delivery: carries batches to living instances and what comes of them back to the log."""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from blog.bus.dispatch import Batch, Dispatch, Window
from blog.bus.log import Log
from blog.bus.outcome import Failure, NotSentError, judge, read_answer
from blog.bus.schema import Position, Settled, State
from blog.core.clock import Clock
from blog.core.errors import BlogError, NotFound
from blog.core.instance import Instance
from blog.core.instance import State as Condition
from blog.core.logs import get_logger
from blog.core.reactions import PATH, Result
from blog.core.web import INSTANCE_HEADER, bearer
from blog.registry.session import Session

TIMEOUT = 10.0
_PAGE = 500

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
        self, journal: Log, session: Session, http: aiohttp.ClientSession, clock: Clock, token: str | None
    ) -> None:
        self._log = journal
        self._session = session
        self._http = http
        self._clock = clock
        self._headers = {"Content-Type": "application/json", **bearer(token)}
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._waiting: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        """How long answers of an instance are waited for."""
        self._running: dict[str, _Subscription] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Deliver for ever. New subscriptions are noticed as their instances join."""
        discovery = self._session.discovery
        for on_news in (discovery.on_change, self._log.on_append):
            on_news(self._wake)
        discovery.on_change(self._give_up_on_doubtful)
        async with asyncio.TaskGroup() as group:
            for name, position in (await self._log.positions()).items():
                self._start(group, name, position)
            while True:
                await self._learn(group)
                await self._changed.wait()
                self._changed.clear()

    def table(self) -> list[dict[str, Any]]:
        """Describe every subscription: lag, in flight and parked in events, retries since the start.

        `dead` is how many keys wait behind an event that never worked, `oldest` the sequence of the
        first event that is to be delivered, `since` its time.
        """
        return [self._row(name, running) for name, running in sorted(self._running.items())]

    def attempts(self) -> list[tuple[str, str, int]]:
        """List how often what came of a batch: subscription, outcome, count."""
        return [
            (name, outcome, count)
            for name, running in sorted(self._running.items())
            for outcome, count in sorted(running.attempts.items())
        ]

    def _row(self, name: str, running: "_Subscription") -> dict[str, Any]:
        oldest = running.dispatch.oldest()
        return {
            "name": name,
            "types": sorted(running.types),
            "watermark": running.dispatch.watermark,
            "lag": self._log.head - running.dispatch.watermark,
            "oldest": oldest.sequence if oldest else None,
            "since": json.loads(oldest.envelope)["time"] if oldest else None,
            "in_flight": running.dispatch.in_flight,
            "retries": running.dispatch.retries,
            "dead": len(running.dispatch.dead),
            "parked": running.dispatch.parked,
            "paused": running.is_paused,
        }

    async def revive(self, name: str, sequence: int, *, again: bool) -> None:
        """Go on with the key of a dead event: try it `again`, or leave it. Raises NotFound."""
        running = self._find(name)
        dispatch = running.dispatch
        await self._log.revive(name, sequence, again=again)
        if dispatch is running.dispatch:
            [entry] = await self._log.get_all([sequence])
            dispatch.revive(entry.key, sequence if again else None)
        running.wake.set()

    async def pause(self, name: str, *, is_paused: bool) -> None:
        """Stop, or go on, with delivering to a subscription. Raises NotFound."""
        running = self._find(name)
        await self._log.pause(name, is_paused=is_paused)
        running.is_paused = is_paused
        running.wake.set()

    async def replay(self, name: str, after: int) -> None:
        """Deliver everything behind `after` again. Raises NotFound.

        What follows from it has the ids that it had, so it is in the log once all the same. Answers to
        what is under way now are dropped.
        """
        running = self._find(name)
        after = min(after, self._log.head)
        running.dispatch = Dispatch(Position(frozenset(running.types), after))
        await self._log.replay(name, after)
        running.wake.set()

    def _find(self, name: str) -> "_Subscription":
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

    def _is_doubtful(self, id_: str) -> bool:
        discovery = self._session.discovery
        instance = discovery.instances.get(id_)
        if instance is None:
            return True
        serving = discovery.serving(instance.service)
        return instance.state is Condition.SUSPECT and any(
            one.state is Condition.READY for one in serving
        )

    async def _learn(self, group: asyncio.TaskGroup) -> None:
        """Take over what living instances say they react to."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for instance in self._session.discovery.instances.values():
            if instance.reactions:
                wanted[instance.service] |= set(instance.reactions)
        for name, types in wanted.items():
            known = self._running.get(name)
            if known is None:
                await self._log.subscribe(name, frozenset(types))
                self._start(group, name, Position(frozenset(types)))
            elif not types <= known.types:
                known.types |= types
                await self._log.subscribe(name, frozenset(known.types))

    def _start(self, group: asyncio.TaskGroup, name: str, position: Position) -> None:
        self._running[name] = running = _Subscription(name, position)
        group.create_task(self._serve(running))

    async def _serve(self, running: "_Subscription") -> None:
        """Send out what may go, as long as somebody has room for it."""
        async with asyncio.TaskGroup() as group:
            while True:
                running.wake.clear()
                await self._load(running)
                await self._park(running)
                await self._unpark(running)
                while not running.is_paused and (instance := self._turn(running.name)) is not None:
                    batch = running.dispatch.next_batch(self._clock.monotonic())
                    if batch is None:
                        break
                    self._windows[instance.id].in_flight += 1
                    group.create_task(self._carry(running, batch, instance))
                await self._wait(running)

    async def _load(self, running: "_Subscription") -> None:
        dispatch = running.dispatch
        while dispatch.wants_more and dispatch.cursor < self._log.head:
            dispatch.load(*await self._log.read(dispatch.cursor, _PAGE, running.types))

    async def _park(self, running: "_Subscription") -> None:
        """Put what came behind a dead event on disk, so that the position may pass it."""
        dispatch = running.dispatch
        entries = dispatch.to_park()
        if not entries:
            return
        parked = [Settled(entry.sequence, entry.key, 0, State.PARKED) for entry in entries]
        try:
            await self._log.settle(running.name, parked, [], dispatch.settled_with(entries))
        except BlogError as error:
            log.warning("delivery.not_parked", subscription=running.name, why=error.detail)
            return
        dispatch.park(entries)

    async def _unpark(self, running: "_Subscription") -> None:
        """Take up what waited behind an event that is dead no more."""
        dispatch = running.dispatch
        while dispatch.wants_more and (sequences := dispatch.to_unpark()):
            dispatch.unpark(await self._log.get_all(sequences))

    async def _wait(self, running: "_Subscription") -> None:
        """Wait until something may have changed, or the next try is due."""
        due = running.dispatch.next_due()
        try:
            async with asyncio.timeout(None if due is None else due - self._clock.monotonic()):
                await running.wake.wait()
        except TimeoutError:
            return

    def _turn(self, service: str) -> Instance | None:
        serving = self._session.discovery.serving(service)
        full = {item.id for item in serving if not self._windows[item.id].has_room()}
        if len(full) == len(serving):
            return None
        return self._session.discovery.next(service, full)

    async def _carry(self, running: "_Subscription", batch: Batch, instance: Instance) -> None:
        """One attempt: post, and put down what came of it."""
        window = self._windows[instance.id]
        dispatch = running.dispatch
        try:
            outcome = await self._post(running.name, batch, instance)
        except NotSentError as error:
            running.attempts["not_sent"] += 1
            self._session.report(instance.id, str(error))
            await asyncio.sleep(_pause())
            dispatch.put_back(batch)
        else:
            if dispatch is running.dispatch:
                await self._put_down(running, batch, outcome)
            else:
                running.attempts["superseded"] += 1  # by a replay
            if isinstance(outcome, Failure) and outcome.is_too_much:
                window.halve()
            else:
                window.grow()
        finally:
            window.in_flight -= 1
            running.wake.set()

    async def _post(self, name: str, batch: Batch, instance: Instance) -> Sequence[Result] | Failure:
        events = ",".join(entry.envelope for entry in batch.entries)
        body = f'{{"subscription":"{name}","attempt":{batch.attempt},"events":[{events}]}}'
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
                answer = await response.read()
                return read_answer(
                    batch, response.status, response.headers.get("Retry-After", ""), answer
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(str(error)) from error
        except TimeoutError:
            if self._is_doubtful(instance.id):
                if not payload.is_sent:
                    raise NotSentError("it is suspect or lost, and has taken nothing") from None
                return Failure("it is suspect or lost, and has not answered")
            return Failure(f"no answer within {TIMEOUT} s", is_too_much=True)
        except (aiohttp.ClientError, OSError) as error:
            return Failure(str(error) or repr(error))
        finally:
            self._waiting[instance.id].discard(scope)
            if not self._waiting[instance.id]:
                del self._waiting[instance.id]

    async def _put_down(
        self, running: "_Subscription", batch: Batch, outcome: Sequence[Result] | Failure
    ) -> None:
        """Settle what worked or never will, in order, up to the first one that is to be tried again."""
        dispatch = running.dispatch
        settled, following, again = judge(batch, outcome)
        if settled:
            watermark = dispatch.settled_with(batch.entries[: len(settled)])
            try:
                await self._log.settle(running.name, settled, following, watermark)
            except BlogError as error:
                again, settled = Failure(error.detail), []
        if settled:
            last = settled[-1]
            running.attempts[last.state.value] += 1
            dispatch.settle(batch, len(settled), is_dead=last.state is State.DEAD)
            if last.state is State.DEAD:
                log.error(
                    "event.dead", subscription=running.name, sequence=last.sequence, why=last.reason
                )
        elif again is not None:
            running.attempts["retry"] += 1
            log.info("delivery.failed", subscription=running.name, key=batch.key, why=again.reason)
            now, jitter = self._clock.monotonic(), random.random()  # noqa: S311 - no secret
            dispatch.retry(batch, now, jitter, again.retry_after)


class _Subscription:
    """One subscription at work."""

    def __init__(self, name: str, position: Position) -> None:
        self.name = name
        self.types = set(position.types)
        self.dispatch = Dispatch(position)
        self.is_paused = position.is_paused
        self.wake = asyncio.Event()
        self.attempts: Counter[str] = Counter()
        """What came of batches: done (or a part of it), dead, retry, not_sent, superseded."""


def _pause() -> float:
    """Return seconds to wait before somebody else is tried: the table may be about to change."""
    return random.uniform(0.0, 0.02)  # noqa: S311 - no secret
