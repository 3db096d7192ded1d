"""`blog down`: stop the master; if it was killed, stop the replicas that it left running."""

import asyncio
from contextlib import suppress
from pathlib import Path

from blog.cli.control import ask
from blog.core.errors import SettingsError
from blog.core.files.lock import LockedError, lock_for_life
from blog.core.output import say
from blog.core.settings import Settings, load
from blog.master.recovery import PersistentKind, RecoveryRecord, RuntimeKind, stop_leftovers
from blog.master.up import LOCK, LOCK_MODE

_TIMEOUT = 40.0
_POLL_INTERVAL = 0.05


def stop(runtime: PersistentKind | None) -> None:
    """Stop everything; return when nothing runs any more. Raises SettingsError when nothing ran."""
    asyncio.run(_stop(load(Settings), runtime))


def retained_note(settings: Settings, kind: RuntimeKind) -> str:
    """Return what people should know of data that stays when containers are removed."""
    return f"; the log stays in the volume {settings.name}-log" if kind == "docker" else ""


async def _stop(settings: Settings, runtime: PersistentKind | None) -> None:
    record = RecoveryRecord.read(settings.data_dir)
    not_running = await _request_stop()
    run = settings.data_dir / "run"
    if not_running is not None and runtime is None and not run.exists():
        raise not_running
    run.mkdir(parents=True, exist_ok=True)
    await _wait_for_lock(run / LOCK, 0.0 if not_running else _TIMEOUT)
    left = await stop_leftovers(settings, runtime)
    if not_running is not None and not left:
        raise not_running
    if left:
        say(f"no `blog up` was running; stopped the replicas it had left: {', '.join(left)}")
    kind = runtime or (record.runtime if record else "process")
    say(f"nothing is left running{retained_note(settings, kind)}")


async def _request_stop() -> SettingsError | None:
    """Ask the master to stop; return the error if none runs."""
    try:
        await ask("POST", "/down")
    except SettingsError as error:
        return error
    return None


async def _wait_for_lock(lock: Path, timeout: float) -> None:
    """Wait until the master has ended, and keep the next one from starting meanwhile."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                with suppress(LockedError):
                    return lock_for_life(lock, mode=LOCK_MODE)
                await asyncio.sleep(_POLL_INTERVAL)
    except TimeoutError:
        raise SettingsError(
            f"A `blog up` holds {lock} and does not end; it may be starting: try again."
        ) from None
