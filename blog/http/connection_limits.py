"""Connection limits: how many connections a port has, how many of one client, how long each may take.

When all are in use, the oldest connection without a complete head is closed for a new one: its client
loses least, and an attacker has most of those. After those, the oldest one whose response was sent.
"""

from collections import Counter
from typing import Generic, Protocol, TypeVar

from blog.core.errors import BlogError, TooMany, Unavailable
from blog.http.deadlines import Deadlines
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_TIMEOUT

IDLE_INTERVAL = 1.0
"""Seconds between two looks for connections that were idle for too long."""

_AGAIN = {"Retry-After": "1"}


class LimitedConnection(Protocol):
    """What the limiter needs of a connection."""

    address: str
    idle_since: float | None

    def head_timed_out(self) -> None:
        """Close: the head did not arrive in time."""

    def has_delivered(self) -> bool:
        """Return whether the client has acknowledged everything that was sent."""
        ...

    def close(self) -> None:
        """Close once everything is sent."""

    def abort(self) -> None:
        """Close at once."""


C = TypeVar("C", bound=LimitedConnection)


class ConnectionLimiter(Generic[C]):
    """The connections of one port: at most `total`, and at most `per_address` of one client."""

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.is_closing = False
        self.open: set[C] = set()
        self.awaiting_head: Deadlines[C] = Deadlines(HEAD_TIMEOUT)
        self.lingering: Deadlines[C] = Deadlines(LINGER_TIMEOUT)
        self.closing: Deadlines[C] = Deadlines(IDLE_TIMEOUT)
        self._idle_checked_at = 0.0
        self._of_address: Counter[str] = Counter()

    def acquire(self, connection: C, now: float) -> BlogError | None:
        """Count a connection; return the error to send if it is over a limit. `release` it either way."""
        refusal = self._refusal(connection.address)
        self.open.add(connection)
        self._of_address[connection.address] += 1
        if refusal is None:
            self.awaiting_head.start(connection, now)
        return refusal

    def release(self, connection: C) -> None:
        """Count a connection no more."""
        if connection not in self.open:
            return
        self.open.discard(connection)
        self.awaiting_head.cancel(connection)
        self.lingering.cancel(connection)
        self.closing.cancel(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def start_lingering(self, connection: C, now: float) -> None:
        """Give the client some time to go on sending, which is ignored: the last response was sent."""
        self.awaiting_head.cancel(connection)
        self.lingering.start(connection, now)

    def start_closing(self, connection: C, now: float) -> None:
        """Give the client some time to receive what was sent; then the connection closes."""
        if connection in self.open and connection not in self.closing:
            self.awaiting_head.cancel(connection)
            self.closing.start(connection, now)

    def sweep(self, now: float) -> None:
        """Close the connections whose time is up."""
        for connection in self.awaiting_head.pop_expired(now):
            connection.head_timed_out()
        for connection in (*self.lingering.pop_expired(now), *self.closing.pop_expired(now)):
            connection.abort()
        if now - self._idle_checked_at > IDLE_INTERVAL:
            self._idle_checked_at = now
            self._abort_delivered(now)
            for connection in self.idle():
                if connection.idle_since is not None and now - connection.idle_since >= KEEPALIVE_TIMEOUT:
                    connection.close()

    def idle(self) -> list[C]:
        """Return the connections that wait for another request."""
        return [connection for connection in self.open if connection.idle_since is not None]

    def close_idle(self) -> None:
        """Close the idle connections; the others close after their response."""
        self.is_closing = True
        for connection in self.idle():
            connection.close()

    def abort_all(self) -> None:
        """Close everything at once."""
        for connection in tuple(self.open):
            connection.abort()

    def _refusal(self, address: str) -> BlogError | None:
        if self._of_address[address] >= self.per_address:
            return TooMany(f"More than {self.per_address} connections of one client.", headers=_AGAIN)
        if len(self.open) < self.total:
            return None
        oldest = self.awaiting_head.oldest() or self.lingering.oldest()
        if oldest is None:
            return Unavailable("This server has no connection left; retry after 1 s.", headers=_AGAIN)
        self.awaiting_head.cancel(oldest)
        self.lingering.cancel(oldest)
        oldest.abort()
        return None

    def _abort_delivered(self, now: float) -> None:
        """Abort what has delivered everything and only waits for the client's close (TLS)."""
        for connection in self.closing.started_before(now - LINGER_TIMEOUT):
            if connection.has_delivered():
                self.closing.cancel(connection)
                connection.abort()

    def __repr__(self) -> str:
        """Show how many there are and what they do."""
        return (
            f"<ConnectionLimiter: {len(self.open)} of {self.total}; {len(self.awaiting_head)} awaiting a"
            f" head, {len(self.idle())} idle, {len(self.lingering)} lingering>"
        )
