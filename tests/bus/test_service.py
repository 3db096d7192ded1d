"""The bus as a process: which log it opens, and when it stands by, ends or takes over."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blog.bus.log.log import EventLog
from blog.bus.service import run
from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.instance import Instance
from blog.core.settings import Settings
from blog.lifecycle.lifecycle import Lifecycle
from blog.registry.server.probe import ProbeOutcome, Prober
from tests.bus.api.test_routes import event
from tests.bus.conftest import Rig
from tests.registry.server.test_service import TOKEN as REGISTRY_TOKEN
from tests.registry.server.test_service import a_world


@pytest.mark.parametrize("way", ["file", "folder", "link", "no database", "lock", "wal"])
async def test_a_log_that_cannot_be_written_is_one_line(way: str, tmp_path: Path) -> None:
    """The bus is the one who cannot do without: where, who, why, and what to do."""
    bus = tmp_path / "data" / "bus"
    if way == "file":
        bus.parent.write_text("")
    else:
        bus.mkdir(parents=True)
    if way in ("folder", "lock", "wal"):
        (bus / {"folder": "log.db", "lock": "log.db.lock", "wal": "log.db-wal"}[way]).mkdir()
    elif way == "link":
        (bus / "log.db").symlink_to(tmp_path / "nowhere" / "log.db")
    elif way == "no database":
        (bus / "log.db").write_bytes(b"no database" * 1000)
    settings = Settings(data_dir=tmp_path / "data", registry=("http://127.0.0.1:1",))
    with pytest.raises(SettingsError, match=r"BLOG_DATA_DIR=.* by user \d+: .*; ") as caught:
        await run(settings, Lifecycle(SystemClock()))
    assert caught.value.detail.isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_log_of_another_user_is_refused_before_the_first_event() -> None:
    """It can be read, so the bus would start, and then take nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bus", "log.db")
        asyncio.run(_made(path))
        for one in (Path(folder), path.parent):
            one.chmod(0o777)
        for one in path.parent.iterdir():
            one.chmod(0o644)
        path.with_name("log.db.lock").chmod(0o666)
        # another user may not be able to read our interpreter: everything is imported before
        code = (
            "import asyncio, os, sys; from pathlib import Path\n"
            "from blog.bus.service import run; from blog.core.clock import SystemClock\n"
            "from blog.core.errors import SettingsError; from blog.core.settings import Settings\n"
            "from blog.lifecycle.lifecycle import Lifecycle\n"
            "os.setgroups([]); os.setuid(54321)\n"
            "try:\n    asyncio.run(run(Settings(data_dir=Path(sys.argv[1])), Lifecycle(SystemClock())))\n"
            "except SettingsError as error:\n    print(error.detail)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, timeout=60
        )
    [line] = done.stdout.splitlines()
    assert "readonly" in line
    assert f"chown -R 54321 {folder}" in line


async def _made(path: Path) -> None:
    async with EventLog.open(path):
        pass


async def test_an_append_waits_for_the_bus_to_come_back(rig: Rig) -> None:
    """The same id on every try: it is taken once."""
    await rig.client.append([event("a")])
    await rig.crash_bus()
    async with asyncio.TaskGroup() as group:
        appending = group.create_task(rig.client.append([event("b")]))
        await rig.start_bus()
    assert [item.sequence for item in appending.result()] == [2]


async def test_a_second_bus_with_the_same_log_stands_by(rig: Rig) -> None:
    """And takes over when the first one is gone."""
    await rig.client.append([event("a")])
    first = rig.url
    await rig.start_bus()  # returns at once: the first one is ready
    assert rig.url == first
    standby = rig._running.pop()
    rig.bus.stop()
    await standby.aclose()


async def test_a_bus_with_another_log_ends_and_says_which_is_which(rig: Rig) -> None:
    """Exit code 2 for whoever started it."""
    known = rig.registry_client.discovery.log
    other = run(rig.settings("elsewhere"), Lifecycle(SystemClock()))
    with pytest.raises(SettingsError, match=str(known)):
        await asyncio.wait_for(other, 10)


async def test_a_bus_ends_when_one_with_another_log_is_ready_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both had joined by then: it does not wait for ever to be dialled back."""
    is_asked = asyncio.Event()
    probe = Prober.probe

    async def slow(self: Prober, instance: Instance, *args: Any, **options: Any) -> ProbeOutcome:
        if instance.id != "b1":
            is_asked.set()
            await asyncio.Event().wait()
        return await probe(self, instance, *args, **options)

    monkeypatch.setattr(Prober, "probe", slow)
    async with a_world() as world:
        first = await world.open(await world.stub("b1"), "bus", metadata={"log": "first"})
        settings = Settings(
            registry=(world.url.rstrip("/"),),
            admin_port=0,
            data_dir=tmp_path,
            token=SecretStr(REGISTRY_TOKEN),
        )
        running = asyncio.create_task(run(settings, Lifecycle(SystemClock())))
        async with asyncio.timeout(20):
            await is_asked.wait()
            await first.ready()
            with pytest.raises(SettingsError, match="but the registry knows first"):
                await running


async def test_adopt_overrules(rig: Rig) -> None:
    """The other log is the one that counts from then on."""
    known = rig.registry_client.discovery.log
    await rig.crash_bus()
    life = Lifecycle(SystemClock())
    async with background(run(rig.settings("elsewhere"), life, adopt=True)):
        await rig.registry_client.discovery.wait_until(lambda table: bool(table.serving("bus")))
        assert rig.registry_client.discovery.log != known
