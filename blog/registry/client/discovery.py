"""Discovery: a local table that follows the registries, merged from what each of them reports.

While disconnected, the last good table is kept; only an explicit message makes it empty.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from types import MappingProxyType

from blog.core.instance import Instance, State
from blog.registry.client.merge import TableSource, merged
from blog.registry.client.round_robin import RoundRobin
from blog.registry.log_identity import BUS, LOG_KEY
from blog.registry.messages import NEVER_AWAITED, Joined, TableDelta, TableSnapshot


class Discovery:
    """The instances of the services in `follow` ("*": all), and which of them comes next."""

    def __init__(self, follow: Collection[str] = ()) -> None:
        self.follow = tuple(follow)
        self.epoch: str | None = None
        self.version = 0
        self.is_complete = False
        """Set for good once a registry has sent a table from which no instance is missing."""
        self._sources: defaultdict[str, TableSource] = defaultdict(TableSource)
        self._instances: dict[str, Instance] = {}
        self._ready: dict[str, RoundRobin] = {}
        self._suspect: dict[str, RoundRobin] = {}
        self._joined_log: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every known instance by its id, in any state but gone."""
        return MappingProxyType(self._instances)

    @property
    def log(self) -> str | None:
        """The identity of the log that the registry knows; None before there was a bus."""
        bus = next(iter(self.serving(BUS)), None)
        return (bus.metadata.get(LOG_KEY) if bus else None) or self._joined_log

    def apply(self, message: Joined | TableSnapshot | TableDelta, source: str = "") -> None:
        """Apply a message of the registry `source`, and call the callbacks."""
        match message:
            case Joined():
                self._joined_log = message.log or self._joined_log
            case TableSnapshot():
                self.epoch, self.version = message.epoch, message.version
                was_complete = self._sources[source].is_complete
                self.is_complete = self.is_complete or message.complete
                changed, gone = self._sources[source].apply_snapshot(message)
                self._forget(gone)
                # the first complete one makes rows suspect that are cached from other registries
                self._merge(changed if was_complete else changed | self._instances.keys())
            case TableDelta():
                self.version = message.version
                changed, gone = self._sources[source].apply_delta(message)
                self._forget(gone)
                self._merge(changed)
        self._notify()

    def disconnected(self, source: str) -> None:
        """Keep what the registry `source` reported, until it or another one reports something newer."""
        if source in self._sources:
            self._merge(self._sources[source].disconnected() | self._instances.keys())
            self._notify()

    def serving(self, service: str) -> tuple[Instance, ...]:
        """List the instances that may get traffic: the ready ones, or the suspects when none is ready."""
        of_service = [item for item in self._instances.values() if item.service == service]
        ready = tuple(item for item in of_service if item.state is State.READY)
        return ready or tuple(item for item in of_service if item.state is State.SUSPECT)

    def awaited(self) -> Iterator[str]:
        """Yield the ids that a registry that has just started waits for, because we knew them before."""
        for instance in self._instances.values():
            if instance.is_serving() and instance.service not in NEVER_AWAITED:
                yield instance.id

    def next(self, service: str, skip: Container[str] | None = None) -> Instance | None:
        """Select an instance round robin, none of `skip`; a suspect only if no ready one is left."""
        chosen = self.next_id(service, skip)
        return self._instances[chosen] if chosen is not None else None

    def next_id(self, service: str, skip: Container[str] | None = None) -> str | None:
        """Select as `next` does, and return the id."""
        ready = self._ready.get(service)
        chosen = ready.next(skip) if ready is not None else None
        if chosen is None and (suspect := self._suspect.get(service)) is not None:
            return suspect.next(skip)
        return chosen

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change; returns a function that ends this."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def wait_until(self, predicate: Callable[["Discovery"], bool]) -> None:
        """Return once `predicate` holds for this table."""
        changed = asyncio.Event()
        stop = self.on_change(changed.set)
        try:
            while not predicate(self):
                await changed.wait()
                changed.clear()
        finally:
            stop()

    def _notify(self) -> None:
        for callback in list(self._callbacks):
            callback()

    def _forget(self, gone: Iterable[str]) -> None:
        """Drop instances from every cache: a registry that is connected reported them as gone."""
        for source in self._sources.values():
            source.forget(gone)

    def _merge(self, ids: Iterable[str]) -> None:
        """Compute the rows of these instances again."""
        for id_ in tuple(ids):
            row = merged(id_, self._sources.values())
            if row is None:
                self._remove(id_)
            elif row is not self._instances.get(id_):
                self._put(row)

    def _put(self, instance: Instance) -> None:
        before = self._instances.get(instance.id)
        if before is not None and before.service != instance.service:
            self._remove(instance.id)
        self._instances[instance.id] = instance
        for state, by_service in ((State.READY, self._ready), (State.SUSPECT, self._suspect)):
            if instance.state is state:
                by_service.setdefault(instance.service, RoundRobin()).put(instance.id)
            else:
                _drop(by_service, instance)

    def _remove(self, instance_id: str) -> None:
        instance = self._instances.pop(instance_id, None)
        if instance is not None:
            _drop(self._ready, instance)
            _drop(self._suspect, instance)

    def __repr__(self) -> str:
        """Show the table, a word per instance."""
        table = ", ".join(f"{item.id}={item.state}" for item in self._instances.values())
        return f"<Discovery v{self.version} of {self.epoch}: {table or 'empty'}>"


def _drop(by_service: dict[str, RoundRobin], instance: Instance) -> None:
    """Take an instance out, and its service with the last one: names may come and go for ever."""
    members = by_service.get(instance.service)
    if members is not None:
        members.remove(instance.id)
        if not members:
            del by_service[instance.service]
