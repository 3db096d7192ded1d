"""What the master needs of a runtime: start a copy, end it, hear that it ended, read its last words."""

from typing import Protocol


class Running(Protocol):
    """A copy that was started."""

    @property
    def pid(self) -> int:
        """The process it runs in."""
        ...

    async def wait(self) -> int:
        """Wait until it has ended; return the exit code."""
        ...

    async def end(self) -> None:
        """Ask it to drain, and see to it that it ends."""
        ...

    def last_lines(self) -> list[str]:
        """Return the last lines it logged."""
        ...


class Runtime(Protocol):
    """Starts copies."""

    async def start(self, service: str, name: str) -> Running:
        """Start one copy of `service`, called `name`; does not wait until it is ready."""
        ...
