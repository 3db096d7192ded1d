"""Log identity: which log belongs to this blog. A bus that brings another one may not join. Pure."""

import re
from collections.abc import Callable

from blog.core.instance import Instance

BUS = "bus"
"""The service whose instances hold the log."""
LOG_KEY = "log"
"""In a bus instance's metadata: the identity of its log."""
LOG_PATH = "/v1/log"
"""At a registry: `GET` returns `{"log": …}`, `PUT` of the same makes it the log of this blog."""
IDENTITY = r"^[A-Za-z0-9._-]{1,128}$"
"""What an identity looks like."""


class LogIdentity:
    """The identity of the log that belongs to this blog, `known` before; `remember` keeps a new one."""

    def __init__(self, known: str | None, remember: Callable[[str], None]) -> None:
        self.current = known
        """None until a bus has joined."""
        self._remember = remember

    def accepts(self, instance: Instance) -> bool:
        """Return whether the instance may join. The log of the first bus becomes current.

        Only `adopt` ever replaces it. A bus that does not say which log it has is not accepted once
        there is one.
        """
        if instance.service != BUS:
            return True
        theirs = instance.metadata.get(LOG_KEY)
        if theirs is not None and self.current is None and re.fullmatch(IDENTITY, theirs):
            self.adopt(theirs)
        return self.current == theirs

    def adopt(self, identity: str) -> None:
        """Make `identity` the log of this blog: an operator's decision."""
        self.current = identity
        self._remember(identity)

    @property
    def advice(self) -> str:
        """What to tell a bus that is not accepted."""
        return (
            f"this blog's log is {self.current}: start the bus with the data directory of that log, or"
            " accept another one with `blog log adopt IDENTITY` where the registry runs"
        )

    def __repr__(self) -> str:
        """Show the identity."""
        return f"<LogIdentity {self.current or 'not known'}>"
