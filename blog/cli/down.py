"""`blog down`: ask the master for the end; where it was killed, end what it left."""

import asyncio
from contextlib import suppress
from pathlib import Path

import click

from blog.cli.control import ask
from blog.core.errors import SettingsError
from blog.core.files.lock import LockedError, lock_for_life
from blog.core.settings import Settings, load
from blog.master.recovery import Kind, Lasting, RecoveryRecord, end_left
from blog.master.up import LOCK, LOCK_MODE

_TIMEOUT = 40.0
_LOOK_EVERY = 0.05


def stop(runtime: Lasting | None) -> None:
    """Return when nothing runs any more. Raises SettingsError when nothing ran."""
    asyncio.run(_stop(load(Settings), runtime))


def kept(settings: Settings, kind: Kind) -> str:
    """Say what stays when containers are gone."""
    return f"; the log stays in the volume {settings.name}-log" if kind == "docker" else ""


async def _stop(settings: Settings, runtime: Lasting | None) -> None:
    record = RecoveryRecord.read(settings.data_dir)
    nobody = await _ask_for_the_end()
    run = settings.data_dir / "run"
    if nobody is not None and runtime is None and not run.exists():
        raise nobody
    run.mkdir(parents=True, exist_ok=True)
    await _hold(run / LOCK, 0.0 if nobody else _TIMEOUT)
    left = await end_left(settings, runtime)
    if nobody is not None and not left:
        raise nobody
    if left:
        click.echo(f"no `blog up` was running any more; ended what it had left: {', '.join(left)}")
    kind = runtime or (record.runtime if record else "process")
    click.echo(f"nothing is left running{kept(settings, kind)}")


async def _ask_for_the_end() -> SettingsError | None:
    """Return the error when there is nobody to ask."""
    try:
        await ask("POST", "/down")
    except SettingsError as error:
        return error
    return None


async def _hold(lock: Path, patience: float) -> None:
    """Wait until the master has ended, and keep the next one from starting meanwhile."""
    try:
        async with asyncio.timeout(patience):
            while True:
                with suppress(LockedError):
                    return lock_for_life(lock, mode=LOCK_MODE)
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise SettingsError(f"A `blog up` has {lock}, but does not end; it may be starting.") from None
