"""Log identity: which log belongs to this blog. A bus that brings another one may not join. Pure.

What a joiner says decides nothing: a log is the blog's once a bus that has it is ready. The log that only
strangers brought is a *claim*: one whose word counts, or an operator, replaces it.
"""

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
CLAIMED = "brought by a stranger"
"""The second line of what is remembered of a claim. The first one is the identity."""


class LogIdentity:
    """The identity of the log that belongs to this blog: what is `known` of it from before.

    `remember` keeps what is known now: the identity, and for a claim a second line that says so.
    """

    def __init__(self, known: str | None, remember: Callable[[str], None]) -> None:
        identity, *marks = (known or "").splitlines() or [""]
        self.current = identity or None
        """None until a bus was ready."""
        self.is_claim = CLAIMED in marks
        """Whether only strangers brought it."""
        self._remember = remember

    def accepts(self, instance: Instance, *, is_trusted: bool) -> bool:
        """Return whether the instance may join; that changes nothing. `is_trusted`: its word counts.

        A bus that does not say which log it has is not accepted once there is one.
        """
        if instance.service != BUS:
            return True
        theirs = instance.metadata.get(LOG_KEY)
        if theirs == self.current:
            return True
        if theirs is None or not re.fullmatch(IDENTITY, theirs):
            return False
        return self.current is None or (self.is_claim and is_trusted)

    def settle(self, instance: Instance, *, is_trusted: bool) -> bool:
        """Take in that an instance is ready; return whether its log has become the current one now."""
        theirs = instance.metadata.get(LOG_KEY)
        if instance.service != BUS or theirs is None:
            return False
        if not self.accepts(instance, is_trusted=is_trusted):
            return False
        is_new = theirs != self.current
        if is_new or (self.is_claim and is_trusted):
            self._set(theirs, is_claim=not is_trusted)
        return is_new

    def adopt(self, identity: str) -> None:
        """Make `identity` the log of this blog: an operator's decision."""
        self._set(identity, is_claim=False)

    def _set(self, identity: str, *, is_claim: bool) -> None:
        self.current, self.is_claim = identity, is_claim
        self._remember(f"{identity}\n{CLAIMED}" if is_claim else identity)

    @property
    def advice(self) -> str:
        """What to tell a bus that is not accepted."""
        return (
            f"this blog's log is {self.current}: start the bus with the data directory of that log, or"
            " accept another one with `blog log adopt IDENTITY` where the registry runs"
        )

    def __repr__(self) -> str:
        """Show the identity."""
        return f"<LogIdentity {self.current or 'not known'}{' (a claim)' * self.is_claim}>"
