"""Places: how many connections a door has, of whom, and how long each may take for what.

When every place is taken, the oldest connection without a whole head makes room: it is the one that
costs nothing to ask again, and the one that an attacker has most of. After those, the oldest whose
response was sent.
"""

from collections import Counter
from typing import TYPE_CHECKING

from blog.core.errors import BlogError, TooMany, Unavailable
from blog.http.deadlines import Deadlines
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_TIMEOUT

if TYPE_CHECKING:
    from blog.http.server import ServerConnection

IDLE_INTERVAL = 1.0
"""Seconds between two looks at who is idle for too long."""

_AGAIN = {"Retry-After": "1"}


class ConnectionLimiter:
    """The connections of one door: at most `total`, and at most `per_address` of one client."""

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.is_closing = False
        self.open: set[ServerConnection] = set()
        self.headless: Deadlines[ServerConnection] = Deadlines(HEAD_TIMEOUT)
        self.lingering: Deadlines[ServerConnection] = Deadlines(LINGER_TIMEOUT)
        self.closing: Deadlines[ServerConnection] = Deadlines(IDLE_TIMEOUT)
        self._looked_at_idle = 0.0
        self._of: Counter[str] = Counter()

    def take(self, connection: "ServerConnection", now: float) -> BlogError | None:
        """Take a place; return why there is none. Leaving is always due."""
        refusal = self._refusal(connection.address)
        self.open.add(connection)
        self._of[connection.address] += 1
        if refusal is None:
            self.headless.begin(connection, now)
        return refusal

    def leave(self, connection: "ServerConnection") -> None:
        """Give a place back."""
        if connection not in self.open:
            return
        self.open.discard(connection)
        self.headless.end(connection)
        self.lingering.end(connection)
        self.closing.end(connection)
        self._of[connection.address] -= 1
        if not self._of[connection.address]:
            del self._of[connection.address]

    def linger(self, connection: "ServerConnection", now: float) -> None:
        """Note that it is over, and only what the client still sends is read."""
        self.headless.end(connection)
        self.lingering.begin(connection, now)

    def close(self, connection: "ServerConnection", now: float) -> None:
        """Note that it closes as soon as the client has taken all that was sent, if it ever does."""
        if connection in self.open and connection not in self.closing:
            self.headless.end(connection)
            self.closing.begin(connection, now)

    def sweep(self, now: float) -> None:
        """Close whoever has had its time."""
        for connection in self.headless.due(now):
            connection.head_is_late()
        for connection in (*self.lingering.due(now), *self.closing.due(now)):
            connection.abort()
        if now - self._looked_at_idle > IDLE_INTERVAL:
            self._looked_at_idle = now
            self._end_delivered(now)
            for connection in self.idle():
                if connection.idle_since is not None and now - connection.idle_since >= KEEPALIVE_TIMEOUT:
                    connection.close()

    def idle(self) -> list["ServerConnection"]:
        """List who waits for another request, or for a first one."""
        return [connection for connection in self.open if connection.idle_since is not None]

    def close_idle(self) -> None:
        """Close who waits for nothing, and let nobody's connection live on after its answer."""
        self.is_closing = True
        for connection in self.idle():
            connection.close()

    def abort_all(self) -> None:
        """Break everything off."""
        for connection in tuple(self.open):
            connection.abort()

    def _refusal(self, address: str) -> BlogError | None:
        if self._of[address] >= self.per_address:
            return TooMany(f"More than {self.per_address} connections of one client.", headers=_AGAIN)
        if len(self.open) < self.total:
            return None
        oldest = self.headless.oldest() or self.lingering.oldest()
        if oldest is None:
            return Unavailable("This server has no connection left; retry after 1 s.", headers=_AGAIN)
        self.headless.end(oldest)
        self.lingering.end(oldest)
        oldest.abort()
        return None

    def _end_delivered(self, now: float) -> None:
        """Break off what has delivered everything and only waits for the client's goodbye (TLS)."""
        for connection in self.closing.begun_before(now - LINGER_TIMEOUT):
            if connection.has_delivered():
                self.closing.end(connection)
                connection.abort()

    def __repr__(self) -> str:
        """Show how many there are and what they do."""
        return (
            f"<ConnectionLimiter: {len(self.open)} of {self.total}; {len(self.headless)} without a head,"
            f" {len(self.idle())} idle, {len(self.lingering)} lingering>"
        )
