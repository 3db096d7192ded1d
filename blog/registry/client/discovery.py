"""The reading side: a local table that follows the registries, merged from what each of them says.

While cut off, the last good table is kept; no source of an empty table but an explicit one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from types import MappingProxyType

from blog.core.instance import Instance, State
from blog.registry.client.merge import TableSource, merged
from blog.registry.client.round_robin import RoundRobin
from blog.registry.log_identity import BUS, LOG_KEY
from blog.registry.messages import Joined, TableDelta, TableSnapshot


class Discovery:
    """Who is alive, of the services in `follow` ("*": all), and whose turn it is."""

    def __init__(self, follow: Collection[str] = ()) -> None:
        self.follow = tuple(follow)
        self.epoch: str | None = None
        self.version = 0
        self.is_complete = False
        """Set once a registry has told a table from which nobody is missing, for good."""
        self._sources: defaultdict[str, TableSource] = defaultdict(TableSource)
        self._instances: dict[str, Instance] = {}
        self._ready: defaultdict[str, RoundRobin] = defaultdict(RoundRobin)
        self._suspect: defaultdict[str, RoundRobin] = defaultdict(RoundRobin)
        self._joined_log: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Everybody known, by id, in any state but gone."""
        return MappingProxyType(self._instances)

    @property
    def log(self) -> str | None:
        """The identity of the log that the registry knows; None before a bus was seen."""
        bus = next(iter(self.serving(BUS)), None)
        return (bus.metadata.get(LOG_KEY) if bus else None) or self._joined_log

    def apply(self, message: Joined | TableSnapshot | TableDelta, source: str = "") -> None:
        """Take over what the registry `source` said, and tell who listens."""
        match message:
            case Joined():
                self._joined_log = message.log or self._joined_log
            case TableSnapshot():
                self.epoch, self.version = message.epoch, message.version
                was_whole = self._sources[source].is_whole
                self.is_complete = self.is_complete or message.complete
                concerned, gone = self._sources[source].snapshot(message)
                self._forget(gone)
                # the first one that is whole puts what others keep in doubt
                self._settle(concerned if was_whole else concerned | self._instances.keys())
            case TableDelta():
                self.version = message.version
                concerned, gone = self._sources[source].delta(message)
                self._forget(gone)
                self._settle(concerned)
        self._tell()

    def cut_off(self, source: str) -> None:
        """Keep what the registry `source` said, until it or another one knows better."""
        if source in self._sources:
            self._settle(self._sources[source].cut_off() | self._instances.keys())
            self._tell()

    def serving(self, service: str) -> tuple[Instance, ...]:
        """List who may get traffic: the ready ones, or the suspects when nobody is ready."""
        of_service = [item for item in self._instances.values() if item.service == service]
        ready = tuple(item for item in of_service if item.state is State.READY)
        return ready or tuple(item for item in of_service if item.state is State.SUSPECT)

    def next(self, service: str, skip: Container[str] | None = None) -> Instance | None:
        """Return whose turn it is, nobody of `skip`; a suspect only if no ready one is left."""
        chosen = self.next_id(service, skip)
        return self._instances[chosen] if chosen is not None else None

    def next_id(self, service: str, skip: Container[str] | None = None) -> str | None:
        """Return the id of whose turn it is, as `next` does."""
        chosen = self._ready[service].next(skip)
        return chosen if chosen is not None else self._suspect[service].next(skip)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change; returns what stops that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def wait_until(self, predicate: Callable[["Discovery"], bool]) -> None:
        """Return once `predicate` holds of this table."""
        changed = asyncio.Event()
        stop = self.on_change(changed.set)
        try:
            while not predicate(self):
                await changed.wait()
                changed.clear()
        finally:
            stop()

    def _tell(self) -> None:
        for callback in list(self._callbacks):
            callback()

    def _forget(self, gone: Iterable[str]) -> None:
        """Take somebody out of what is kept: a registry that is there knows better."""
        for source in self._sources.values():
            source.forget(gone)

    def _settle(self, concerned: Iterable[str]) -> None:
        """Work out anew the rows of who is concerned."""
        for id_ in tuple(concerned):
            row = merged(id_, self._sources.values())
            if row is None:
                self._remove(id_)
            elif row is not self._instances.get(id_):
                self._put(row)

    def _put(self, instance: Instance) -> None:
        self._instances[instance.id] = instance
        for state, rotations in ((State.READY, self._ready), (State.SUSPECT, self._suspect)):
            if instance.state is state:
                rotations[instance.service].put(instance.id)
            else:
                rotations[instance.service].remove(instance.id)

    def _remove(self, instance_id: str) -> None:
        instance = self._instances.pop(instance_id, None)
        if instance is not None:
            self._ready[instance.service].remove(instance_id)
            self._suspect[instance.service].remove(instance_id)

    def __repr__(self) -> str:
        """Show the table, a word per instance."""
        table = ", ".join(f"{item.id}={item.state}" for item in self._instances.values())
        return f"<Discovery v{self.version} of {self.epoch}: {table or 'nobody'}>"
