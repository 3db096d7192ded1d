"""Docker runtime: replicas as containers of one image, in a network of their own.

Labels say whose a container is: a master adopts its own after a restart, and never touches another's.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from blog.core.errors import SettingsError
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.master.programs import names
from blog.master.runtimes.base import AdoptedReplica, RunningReplica, UnstartedReplica
from blog.master.runtimes.docker.container import ContainerReplica
from blog.master.runtimes.docker.engine import FAILURES, DockerEngine, why
from blog.master.runtimes.docker.options import DATA_DIR, NAME, REPLICA, SERVICE, options, volume
from blog.master.runtimes.logs import ReplicaLog

_LIVING = ("running", "paused", "restarting")

log = get_logger()


class DockerRuntime:
    """Starts containers of the blog in a data directory. Made by `DockerRuntime.open`."""

    def __init__(self, engine: DockerEngine, settings: Settings) -> None:
        self.adopted: list[AdoptedReplica] = []
        self._engine = engine
        self._settings = settings
        self._logs = settings.data_dir / "logs"
        self._labels = {NAME: settings.name, DATA_DIR: str(settings.data_dir.resolve())}

    @staticmethod
    @asynccontextmanager
    async def open(settings: Settings) -> AsyncIterator["DockerRuntime"]:
        """Connect to the engine and adopt running containers. Raises SettingsError without an engine."""
        async with DockerEngine.open() as engine:
            containers = DockerRuntime(engine, settings)
            try:
                found = await engine.call(containers._list_ours)
            except FAILURES as error:
                raise _engine_error(error) from None
            running = [container for container in found if container.status in _LIVING]
            containers.adopted += [containers._adopt(container) for container in running]
            yield containers

    async def prepare(self, settings: Settings) -> None:
        """Start containers with `settings` from now on; make the network and the volume."""
        self._settings = settings
        try:
            await self._engine.call(self._prepare)
        except FAILURES as error:
            raise _engine_error(error) from None

    async def start(self, service: str, name: str) -> RunningReplica:
        """Start one container; one that already runs under this name is adopted."""
        log_file = ReplicaLog(self._logs / f"{name}.log")
        try:
            container = await self._engine.call(lambda client: self._run(client, service, name))
        except FAILURES as error:
            return UnstartedReplica(f"{self._settings.name}-{name}: {why(error)}")
        return ContainerReplica(self._engine, container, log_file)

    async def clear(self) -> None:
        """Remove ended containers and the network; the volume stays, because it holds the log."""
        try:
            await self._engine.call(self._remove_ours)
        except FAILURES as error:
            raise _engine_error(error) from None

    def _adopt(self, container: Container) -> AdoptedReplica:
        """Adopt a container; what it logged meanwhile is appended to the replica's log."""
        service, name = container.labels[SERVICE], container.labels[REPLICA]
        path = self._logs / f"{name}.log"
        since = path.stat().st_mtime if path.exists() else 0.0
        replica = ContainerReplica(self._engine, container, ReplicaLog(path), since)
        return AdoptedReplica(service, name, _age(container.attrs["State"]["StartedAt"]), replica)

    def _list_ours(self, client: docker.DockerClient) -> list[Container]:
        labels = [f"{label}={value}" for label, value in self._labels.items()]
        return client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)

    def _is_ours(self, labels: dict[str, str] | None) -> bool:
        return self._labels.items() <= (labels or {}).items()

    def _prepare(self, client: docker.DockerClient) -> None:
        """Raise SettingsError if no replica could be started."""
        settings = self._settings
        try:
            client.images.get(settings.image)
        except ImageNotFound:
            raise SettingsError(
                f"BLOG_IMAGE={settings.image}: the engine has no such image; build it with"
                f" `docker build -t {settings.image} .`"
            ) from None
        for container in client.containers.list(all=True, ignore_removed=True):
            if self._is_name_conflict(container):
                raise SettingsError(
                    f"BLOG_NAME={settings.name}: the container {container.name} exists and is not one of"
                    " this blog; remove it, or set another BLOG_NAME."
                )
        if not self._networks(client):
            client.networks.create(settings.name, driver="bridge", labels=self._labels)
        client.volumes.create(volume(settings), labels={NAME: settings.name})

    def _is_name_conflict(self, container: Container) -> bool:
        """Return whether a container of others has one of our names: `blog-SERVICE-NUMBER`."""
        prefix, _, number = (container.name or "").rpartition("-")
        ours = {f"{self._settings.name}-{service}" for service in names()}
        return prefix in ours and number.isdecimal() and not self._is_ours(container.labels)

    def _networks(self, client: docker.DockerClient) -> list[Network]:
        """List the networks of our name: the engine also finds names that contain it."""
        name = self._settings.name
        return [network for network in client.networks.list(names=[name]) if network.name == name]

    def _run(self, client: docker.DockerClient, service: str, name: str) -> Container:
        """Create and start a container; remove it if it cannot be started.

        One that already runs under this name is returned: the engine may have started it for a master
        that was killed meanwhile.
        """
        made = options(self._settings, service, name, self._labels, os.environ)
        running = self._running(client, made["name"])
        if running is not None:
            return running
        container: Container = client.containers.create(**made)
        try:
            container.start()
            container.reload()
        except FAILURES:
            container.remove(force=True, v=True)
            raise
        return container

    def _running(self, client: docker.DockerClient, name: str) -> Container | None:
        """Return our container of this name if it runs; remove it if it does not."""
        try:
            container = client.containers.get(name)
        except NotFound:
            return None
        if not self._is_ours(container.labels):
            return None
        if container.status in _LIVING:
            return container
        container.remove(force=True, v=True)
        return None

    def _remove_ours(self, client: docker.DockerClient) -> None:
        for container in self._list_ours(client):
            container.remove(force=True, v=True)
        for network in self._networks(client):
            if self._is_ours(network.attrs.get("Labels")):
                self._remove_network(network)

    def _remove_network(self, network: Network) -> None:
        """Remove it, unless it has containers of others in it."""
        try:
            network.remove()
        except APIError as error:
            log.warning("network.kept", name=network.name, reason=why(error))


def _engine_error(error: BaseException) -> SettingsError:
    return SettingsError(f"The Docker engine failed: {why(error)}")


def _age(started: str) -> float:
    """Return the seconds since a time in the engine's format: UTC, with nanoseconds."""
    began = datetime.fromisoformat(started[:19]).replace(tzinfo=UTC)
    return max(0.0, (datetime.now(UTC) - began).total_seconds())
