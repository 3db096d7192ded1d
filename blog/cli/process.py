"""One instance as a process: settings, logs, event loop, signals, exit code."""

import asyncio
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvloop

from blog.cli.settings import load_and_warn
from blog.core import logs
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.lifecycle.lifecycle import Lifecycle
from blog.master.programs import program
from blog.master.runtimes.lock import claim

SLOW_IMPORT = 10.0
"""Seconds after which a warning says that a program is still being imported."""


def run_instance(name: str, *, lock: int | None, adopt: bool, **overrides: object) -> None:
    """Run the program `name` until SIGTERM or SIGINT; `lock` is the descriptor of the replica's lock.

    `overrides` take precedence over the environment. Raises SettingsError. Any other error is logged and
    ends the process with exit code 1.
    """
    if lock is not None:
        claim(lock)
    settings = load_and_warn(overrides, service=name)
    with _warn_when_slow(name):
        run = program(name, adopt=adopt)

    async def live() -> None:
        lifecycle = Lifecycle(SystemClock())
        on_signals(lifecycle.stop)
        await run(settings, lifecycle)

    try:
        in_loop(live)
    except SettingsError:
        raise
    except Exception:  # noqa: BLE001 - logged, and an exit code
        logs.get_logger().exception("instance.crashed", service=name)
        sys.exit(1)


def in_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` in a uvloop event loop. A SettingsError of one of its tasks is raised as itself."""

    async def main() -> None:
        await work()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except BaseExceptionGroup as failures:
        found = _settings_error(failures)
        if found is None:
            raise
        raise found from None


def on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


@contextmanager
def _warn_when_slow(name: str) -> Iterator[None]:
    """Warn when an import takes long: one that never ends would look like a normal start."""
    log = logs.get_logger()
    fields = {"service": name, "seconds": SLOW_IMPORT}
    timer = threading.Timer(SLOW_IMPORT, partial(log.warning, "service.slow_import", **fields))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _settings_error(error: BaseException) -> SettingsError | None:
    """Return the first SettingsError in a group of errors, or None."""
    if isinstance(error, SettingsError):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((found for item in inner if (found := _settings_error(item))), None)
