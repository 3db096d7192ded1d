"""Replicas as containers, on a real engine: known by labels, and only the blog's own are touched."""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound
from pydantic import SecretStr

from blog.core.errors import SettingsError
from blog.core.settings import Settings
from blog.master.runtimes.base import UnstartedReplica
from blog.master.runtimes.docker.container import ContainerReplica
from blog.master.runtimes.docker.containers import DockerRuntime
from tests.e2e.conftest import free_ports
from tests.e2e.engine import IMAGE
from tests.master.fake_runtime import an_instance

pytestmark = pytest.mark.timeout(300)

# it needs no other to live: it looks for the registry for ever
SERVICE, REPLICA = "moderation", "moderation-1"


@pytest.fixture
def settings(client: Any, tmp_path: Path) -> Iterator[Settings]:
    """Give settings with a name of their own; nothing of that name is left behind."""
    name = f"blogtest-{uuid.uuid4().hex[:8]}"
    public, admin = free_ports(2)
    yield Settings(
        name=name,
        image=IMAGE,
        data_dir=tmp_path / "data",
        token=SecretStr("t" * 16),
        public_port=public,
        admin_port=admin,
    )
    for container in named(client, name):
        container.remove(force=True, v=True)
    for network in client.networks.list(names=[name]):
        network.remove()
    for volume in client.volumes.list(filters={"name": name}):
        volume.remove(force=True)


def named(client: Any, name: str) -> list[Any]:
    """List the containers whose name begins so."""
    found: list[Any] = client.containers.list(all=True, filters={"name": f"^/{name}-"})
    return found


async def started(runtime: DockerRuntime, settings: Settings, service: str = SERVICE) -> ContainerReplica:
    """Start a replica."""
    await runtime.prepare(settings)
    replica = await runtime.start(service, f"{service}-1")
    assert isinstance(replica, ContainerReplica), replica.last_lines()
    return replica


async def wait_for_line(replica: ContainerReplica, text: str) -> None:
    """Wait until it has logged something."""
    async with asyncio.timeout(30):
        while not any(text in line for line in replica.last_lines()):
            await asyncio.sleep(0.05)


async def test_it_drains_and_leaves_only_its_volume(client: Any, settings: Settings) -> None:
    """Exit code 0; its log is where `blog logs` looks; container and network are gone."""
    async with DockerRuntime.open(settings) as runtime:
        replica = await started(runtime, settings)
        [container] = named(client, settings.name)
        assert container.name == f"{settings.name}-{REPLICA}"
        assert replica.pid == container.attrs["State"]["Pid"]
        await wait_for_line(replica, "registry.unreachable")
        await replica.stop()
        assert await replica.wait() == 0
        assert named(client, settings.name) == []
        await runtime.clear()
    assert not client.networks.list(names=[settings.name])
    assert client.volumes.get(f"{settings.name}-log")
    assert "registry.unreachable" in (settings.data_dir / "logs" / f"{REPLICA}.log").read_text()


async def test_a_killed_one_says_how_it_ended(client: Any, settings: Settings) -> None:
    """Kill -9 of its process; after that its name is free."""
    async with DockerRuntime.open(settings) as runtime:
        for _ in range(2):
            replica = await started(runtime, settings)
            os.kill(replica.pid, signal.SIGKILL)
            assert await replica.wait() == 137
        assert named(client, settings.name) == []


async def test_a_name_that_runs_is_not_started_again(client: Any, settings: Settings) -> None:
    """Whoever starts it gets the one that runs; one that was made and never started is replaced."""
    async with DockerRuntime.open(settings) as runtime:
        made = client.containers.create(
            IMAGE, ["posts"], name=f"{settings.name}-{REPLICA}",
            labels={"blog.name": settings.name, "blog.data_dir": str(settings.data_dir)},
        )  # fmt: skip
        replica = await started(runtime, settings)
        assert [one.id for one in named(client, settings.name)] != [made.id]
        again = await started(runtime, settings)
        assert again.pid == replica.pid
        await replica.stop()
        await again.wait()


async def test_one_that_cannot_run_says_why(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code and the last lines are what a crash loop shows."""
    monkeypatch.setenv("BLOG_LOG_LEVEL", "loud")
    async with DockerRuntime.open(settings) as runtime:
        replica = await started(runtime, settings)
        assert await replica.wait() == 2
        assert "BLOG_LOG_LEVEL" in replica.last_lines()[-1]


async def test_another_master_finds_it(client: Any, settings: Settings) -> None:
    """The same container, which it can end; whoever else waits for that hears of it."""
    async with DockerRuntime.open(settings) as first:
        replica = await started(first, settings)
        await wait_for_line(replica, "registry.unreachable")
        async with DockerRuntime.open(settings) as second:
            [found] = second.adopted
            assert (found.service, found.name, found.number) == (SERVICE, REPLICA, 1)
            assert found.running.pid == replica.pid
            assert 0 <= found.age < 60
            await found.running.stop()
            assert await found.running.wait() == 0
            await replica.wait()
    assert named(client, settings.name) == []


async def test_one_with_another_data_directory_does_not(
    client: Any, settings: Settings, tmp_path: Path
) -> None:
    """Labels say whose a container is: it is not adopted, not removed, and its name is taken."""
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    async with DockerRuntime.open(settings) as own:
        replica = await started(own, settings)
        async with DockerRuntime.open(other) as runtime:
            assert runtime.adopted == []
            with pytest.raises(SettingsError, match=f"{settings.name}-{REPLICA}.*BLOG_NAME"):
                await runtime.prepare(other)
            await runtime.clear()
        assert [one.status for one in named(client, settings.name)] == ["running"]
        await replica.stop()


async def test_what_others_have_stays(client: Any, settings: Settings) -> None:
    """A network that was there is used and kept; a container without labels is not touched."""
    network = client.networks.create(settings.name)
    stranger = client.containers.create(IMAGE, ["posts"], name=f"{settings.name}-stranger-1")
    async with DockerRuntime.open(settings) as runtime:
        replica = await started(runtime, settings)
        assert named(client, settings.name)[0].attrs["NetworkSettings"]["Networks"].keys() == {
            settings.name
        }
        await replica.stop()
        await runtime.clear()
    assert named(client, settings.name) == [stranger]
    network.reload()


async def test_a_network_that_others_are_in_stays(client: Any, settings: Settings) -> None:
    """The blog made it, but its end must not be theirs."""
    async with DockerRuntime.open(settings) as runtime:
        await runtime.prepare(settings)
        guest = client.containers.run(
            IMAGE, ["posts"], detach=True, network=settings.name, name=f"{settings.name}-guest"
        )
        await runtime.clear()
    guest.reload()
    assert guest.status == "running"
    assert client.networks.list(names=[settings.name])


async def test_without_an_image_nothing_begins(client: Any, settings: Settings) -> None:
    """It says how to make one."""
    missing = settings.model_copy(update={"image": f"{settings.name}:none"})
    async with DockerRuntime.open(missing) as runtime:
        with pytest.raises(SettingsError, match=f"BLOG_IMAGE={settings.name}:none.*docker build"):
            await runtime.prepare(missing)
    with pytest.raises(NotFound):
        client.networks.get(settings.name)


async def test_a_taken_port_is_a_crash_with_a_reason(client: Any, settings: Settings) -> None:
    """The engine's words; and no half-made container stays."""
    taken = client.containers.run(
        IMAGE, ["moderation"], detach=True, name=f"{settings.name}-x",
        ports={"8080/tcp": ("127.0.0.1", settings.public_port)},
    )  # fmt: skip
    async with DockerRuntime.open(settings) as runtime:
        await runtime.prepare(settings)
        replica = await runtime.start("gateway", "gateway-1")
        assert isinstance(replica, UnstartedReplica)
        assert str(settings.public_port) in replica.last_lines()[0]
        assert named(client, settings.name) == [taken]
        await runtime.clear()


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("0123456789ab", True), ("", False), ("0", False), ("0123456789abc", False), ("\x1b[2J", False)],
)
def test_an_instance_is_known_by_the_whole_host_name(host: str, is_it: bool) -> None:  # noqa: FBT001
    """What an instance says of its host is a claim: one letter is the beginning of many ids."""
    replica = object.__new__(ContainerReplica)
    replica._container = SimpleNamespace(id="0123456789abcdef")  # type: ignore[assignment]
    found = an_instance(SERVICE).model_copy(update={"metadata": {"host": host}})
    assert replica.has_instance(found) is is_it
