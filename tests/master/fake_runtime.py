"""A runtime without processes, and the instances that its replicas would announce."""

import asyncio
from datetime import UTC, datetime

from blog.core.instance import Instance, Load, State
from blog.master.runtimes.base import EXIT_CONFIG_ERROR, AdoptedReplica


class FakeReplica:
    """A replica that lives until it is asked to end, or crashes when a test says so."""

    def __init__(self, service: str, name: str, pid: int) -> None:
        self.service = service
        self.name = name
        self.pid = pid
        self.is_asked_to_end = False
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def has_instance(self, instance: Instance) -> bool:
        """Tell by the process that the instance says it runs in."""
        return instance.metadata.get("pid") == str(self.pid)

    async def wait(self) -> int:
        """Wait for the end."""
        return await asyncio.shield(self._code)

    async def stop(self) -> None:
        """Drain, which takes no time."""
        self.is_asked_to_end = True
        self.crash(0)

    def crash(self, code: int = 1) -> None:
        """End by itself."""
        if not self._code.done():
            self._code.set_result(code)

    @property
    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self._code.done()

    def last_lines(self) -> list[str]:
        """Say why."""
        return [f"{self.name}: one", f"{self.name}: two"]


class FakeRuntime:
    """Starts fake replicas; those of the services in `crashing` and `refusing` end at once."""

    def __init__(self) -> None:
        self.replicas: list[FakeReplica] = []
        self.crashing: set[str] = set()
        self.refusing: set[str] = set()
        self.adopted: list[AdoptedReplica] = []

    async def start(self, service: str, name: str) -> FakeReplica:
        """Start one."""
        replica = FakeReplica(service, name, 1000 + len(self.replicas))
        self.replicas.append(replica)
        if service in self.crashing:
            replica.crash()
        if service in self.refusing:
            replica.crash(EXIT_CONFIG_ERROR)
        return replica

    def living(self, service: str) -> list[str]:
        """Name those that have not ended."""
        return [
            replica.name
            for replica in self.replicas
            if replica.service == service and not replica.is_over
        ]


def an_instance(
    service: str, pid: int = 1, *, state: State = State.READY, in_flight: int = 0, address: str = "h:1"
) -> Instance:
    """Make an instance as the registry would list it."""
    announced = Instance.announce(
        service, address=address, started_at=datetime(2026, 1, 1, tzinfo=UTC), metadata={"pid": str(pid)}
    )
    return announced.model_copy(update={"state": state, "load": Load(in_flight=in_flight)})
