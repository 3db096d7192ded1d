"""A service of the benchmark: one reaction notes when it has an event, from the other something follows.

Runs like `blog NAME`, with its settings. `REACTOR_NOTES` names a file for the nanoseconds of each Ping.
"""

import os
import time

from blog.cli.process import in_loop, on_signals
from blog.cli.settings import load_and_warn
from blog.core.clock import SystemClock
from blog.core.contract import Service
from blog.core.events import Event
from blog.lifecycle.lifecycle import Lifecycle
from blog.runtime.run import run

service = Service("reactor")
notes = os.open(os.environ.get("REACTOR_NOTES", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Ping(Event, key="about"):
    """Something to be heard of soon; `sent` is nanoseconds of the monotonic clock."""

    about: str
    sent: int


class Task(Event, key="about"):
    """Something to be done."""

    about: str
    text: str = ""


class Done(Event, key="about"):
    """It was done."""

    about: str
    text: str = ""


@service.reaction
def hear(ping: Ping) -> None:
    """Note how long it took to get here."""
    os.write(notes, f"{time.monotonic_ns() - ping.sent}\n".encode())


@service.reaction
def carry_out(task: Task) -> Done:
    """Say that it was done."""
    return Done(about=task.about, text=task.text)


def main() -> None:
    """Run one instance until SIGTERM."""
    settings = load_and_warn({}, service=service.name)

    async def live() -> None:
        lifecycle = Lifecycle(SystemClock())
        on_signals(lifecycle.stop)
        await run(service, settings, lifecycle)

    in_loop(live)


if __name__ == "__main__":
    main()
