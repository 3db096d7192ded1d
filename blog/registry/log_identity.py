"""Log identity: which log belongs to this blog. A bus that brings another one may not join. Pure."""

from collections.abc import Callable

from blog.core.instance import Instance

BUS = "bus"
"""The service whose instances hold the log."""
LOG_KEY = "log"
"""In a bus instance's metadata: the identity of its log."""
ADOPT_KEY = "adopt"
"""In a bus instance's metadata: "true" makes its log the one that counts from now on."""


class LogIdentity:
    """The identity of the log that belongs to this blog, `known` before; `remember` keeps a new one."""

    def __init__(self, known: str | None, remember: Callable[[str], None]) -> None:
        self.current = known
        """None until a bus has joined."""
        self._remember = remember

    def accepts(self, instance: Instance) -> bool:
        """Return whether the instance may join. The first log, or an adopted one, becomes current."""
        theirs = instance.metadata.get(LOG_KEY)
        if instance.service != BUS or theirs is None:
            return True
        if self.current is None or instance.metadata.get(ADOPT_KEY) == "true":
            self.current = theirs
            self._remember(theirs)
        return self.current == theirs

    def __repr__(self) -> str:
        """Show the identity."""
        return f"<LogIdentity {self.current or 'not known'}>"
