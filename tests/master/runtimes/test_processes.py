"""Replicas as processes: they end when asked, say why they crashed, and do not need their master."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from blog.core.errors import SettingsError
from blog.core.instance import Instance
from blog.core.settings import Settings
from blog.master.runtimes import processes
from blog.master.runtimes.base import UnstartedReplica, stop_in_order
from blog.master.runtimes.processes import ProcessReplica, ProcessRuntime
from tests.master.stand_in import SILENT, lock_of, stand_in

# it needs no other to live: it looks for the registry for ever
SERVICE = "moderation"


def settings(folder: Path) -> Settings:
    """Return settings with nobody at the registry's port."""
    return Settings(data_dir=folder, admin_port=1, token=SecretStr("t" * 16))


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    """Give a runtime; what still runs at the end is ended."""
    async with ProcessRuntime.open(tmp_path) as opened:
        await opened.prepare(settings(tmp_path))
        yield opened
    async with ProcessRuntime.open(tmp_path) as left:
        await stop_in_order((found.service, found.running) for found in left.adopted)


async def started(runtime: ProcessRuntime, name: str = f"{SERVICE}-1") -> ProcessReplica:
    """Start a replica."""
    replica = await runtime.start(SERVICE, name)
    assert isinstance(replica, ProcessReplica)
    return replica


def log_of(folder: Path, name: str = f"{SERVICE}-1") -> str:
    """Return what a replica has logged."""
    return (folder / "logs" / f"{name}.log").read_text()


async def test_a_killed_replica_says_how_it_ended(runtime: ProcessRuntime) -> None:
    """The exit code is the signal's."""
    replica = await started(runtime)
    os.kill(replica.pid, signal.SIGKILL)
    assert await replica.wait() == -9


async def test_a_replica_that_cannot_run_says_why(tmp_path: Path) -> None:
    """Its last lines are those of its own log."""
    async with ProcessRuntime.open(tmp_path) as runtime:
        await runtime.prepare(settings(tmp_path))
        replica = await runtime.start("nobody", "nobody-1")
        assert await replica.wait() == 2
        assert "nobody" in replica.last_lines()[-1]
        assert "nobody" in log_of(tmp_path, "nobody-1")


async def test_another_runtime_finds_and_ends_it(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """The same process, of which the exit code is not known; after that the name is free."""
    replica = await started(runtime)
    async with ProcessRuntime.open(tmp_path) as later:
        [found] = later.adopted
        assert (found.service, found.name, found.number) == (SERVICE, f"{SERVICE}-1", 1)
        assert found.running.pid == replica.pid
        assert 0 <= found.age < 60
        await found.running.stop()
        assert await found.running.wait() is None
    await replica.wait()
    async with ProcessRuntime.open(tmp_path) as last:
        assert last.adopted == []


async def test_a_name_that_runs_is_not_started_again(runtime: ProcessRuntime) -> None:
    """Whoever starts it gets the one that runs."""
    replica = await started(runtime)
    again = await started(runtime)
    assert again.pid == replica.pid
    await again.stop()
    await replica.wait()


async def test_a_lock_of_nobody_is_no_replica(tmp_path: Path) -> None:
    """Whatever process is named in the file: it is not looked for, and no signal is sent."""
    lock_of(tmp_path, "posts-1").write_text(f'{{"pid": {os.getpid()}, "beg')
    async with ProcessRuntime.open(tmp_path) as runtime:
        assert runtime.adopted == []
        await runtime.clear()
    assert not list((tmp_path / "run" / "copies").iterdir())


async def test_the_signal_goes_to_the_process_not_to_its_number(tmp_path: Path) -> None:
    """A replica that has ended gets none, though its number may be another's by now."""
    sent: list[int] = []
    with pytest.MonkeyPatch.context() as patched, stand_in(lock_of(tmp_path, "posts-1")) as process:
        async with ProcessRuntime.open(tmp_path) as runtime:
            [found] = runtime.adopted
            process.kill()
            process.wait()
            await found.running.wait()
            for module, name in ((signal, "pidfd_send_signal"), (os, "kill"), (os, "killpg")):
                patched.setattr(module, name, lambda *_: sent.append(1))
            await found.running.stop()
    assert sent == []


async def test_one_that_does_not_say_who_it_is_is_no_secret(tmp_path: Path) -> None:
    """It cannot be adopted, nor passed over: it would run twice."""
    with pytest.MonkeyPatch.context() as patched, stand_in(lock_of(tmp_path, "posts-1"), SILENT):
        patched.setattr(processes, "_CLAIMED_WITHIN", 0.1)
        with pytest.raises(SettingsError, match="posts-1"):
            async with ProcessRuntime.open(tmp_path):
                pass


async def test_what_cannot_be_started_is_a_crash_with_a_reason(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """The master goes on, and tries again later."""
    (tmp_path / "logs").write_text("in the way")
    replica = await runtime.start(SERVICE, f"{SERVICE}-1")
    assert isinstance(replica, UnstartedReplica)
    assert await replica.wait() == 1
    assert "logs" in replica.last_lines()[0]


async def test_it_knows_its_instance(runtime: ProcessRuntime) -> None:
    """By process and machine: in a container the same process id is another one."""
    replica = await started(runtime)
    metadata = {"pid": str(replica.pid), "host": socket.gethostname()}
    instance = Instance.announce(SERVICE, address="h:1", started_at=datetime.now(UTC), metadata=metadata)
    assert replica.has_instance(instance)
    for other in ({"host": "elsewhere"}, {"pid": str(replica.pid + 1)}):
        assert not replica.has_instance(instance.model_copy(update={"metadata": metadata | other}))
