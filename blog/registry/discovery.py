"""Discovery: the reading side. A local table that follows a registry, and whose turn it is in it.

Keeps the last good list while cut off: only an explicit message takes an instance away. No I/O.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Mapping
from types import MappingProxyType

from blog.core.instance import Instance, State
from blog.registry.messages import Delta, Joined, Snapshot
from blog.registry.rotation import Rotation

BUS = "bus"


class _Either(Container[str]):
    """In one or in the other, without copying."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._first or item in self._second


class Discovery:
    """What is known of the services in `follow` (`*` among them: all)."""

    def __init__(self, follow: Collection[str]) -> None:
        self.follow = frozenset(follow)
        self.epoch: str | None = None
        self.version = 0
        self._log: str | None = None
        self._instances: dict[str, Instance] = {}
        self._turns: defaultdict[str, Rotation] = defaultdict(Rotation)
        self._suspects: set[str] = set()
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Everybody known, by id; a live view that nobody can write to."""
        return MappingProxyType(self._instances)

    @property
    def log(self) -> str | None:
        """The identity of the log: as the bus in the table carries it, else as the registry said."""
        carried = (bus.metadata.get("log") for bus in self._of(BUS))
        return next((log for log in carried if log), self._log)

    def apply(self, message: Joined | Snapshot | Delta) -> None:
        """Take in what the registry says, and tell those who wait for changes."""
        match message:
            case Joined():
                self._log = message.log
            case Snapshot():
                self._replace(message)
            case Delta():
                self._change(message)
        for callback in tuple(self._callbacks.values()):
            callback()

    def serving(self, service: str) -> tuple[Instance, ...]:
        """Return the ready instances of `service`, or its suspects when no ready one is left."""
        serving = [instance for instance in self._of(service) if instance.is_serving()]
        ready = tuple(instance for instance in serving if instance.id not in self._suspects)
        return ready or tuple(serving)

    def next(self, service: str, skip: Container[str] = ()) -> Instance | None:
        """Return whose turn it is: ready and not in `skip`; a suspect only if there is no such one."""
        turns = self._turns.get(service)
        if turns is None:
            return None
        chosen = turns.next(_Either(skip, self._suspects)) if self._suspects else turns.next(skip)
        if chosen is None and self._suspects:
            chosen = turns.next(skip)
        return None if chosen is None else self._instances[chosen]

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, until the returned function is called."""
        key = object()
        self._callbacks[key] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    async def wait_until(self, predicate: Callable[["Discovery"], bool]) -> None:
        """Return when `predicate` holds, at once if it does."""
        changed = asyncio.Event()
        unsubscribe = self.on_change(changed.set)
        try:
            while not predicate(self):
                changed.clear()
                await changed.wait()
        finally:
            unsubscribe()

    def _of(self, service: str) -> list[Instance]:
        return [instance for instance in self._instances.values() if instance.service == service]

    def _replace(self, snapshot: Snapshot) -> None:
        """Take a complete snapshot as the truth; an incomplete one only adds."""
        self.epoch, self.version = snapshot.epoch, snapshot.version
        if snapshot.complete:
            for id_ in self._instances.keys() - {instance.id for instance in snapshot.instances}:
                self._remove(id_)
        for instance in snapshot.instances:
            self._put(instance)

    def _change(self, delta: Delta) -> None:
        self.version = delta.version
        for gone in delta.gone:
            self._remove(gone.id)
        for instance in delta.put:
            self._put(instance)

    def _put(self, instance: Instance) -> None:
        self._instances[instance.id] = instance
        turns = self._turns[instance.service]
        (turns.put if instance.is_serving() else turns.remove)(instance.id)
        suspect = instance.state is State.SUSPECT
        (self._suspects.add if suspect else self._suspects.discard)(instance.id)

    def _remove(self, id_: str) -> None:
        instance = self._instances.pop(id_, None)
        if instance is not None:
            self._turns[instance.service].remove(id_)
            self._suspects.discard(id_)

    def __repr__(self) -> str:
        """Show the version and everybody's state."""
        known = ", ".join(f"{instance.id} {instance.state}" for instance in self._instances.values())
        return f"<Discovery at {self.version}: {known or 'nobody'}>"
