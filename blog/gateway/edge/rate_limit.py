"""Rate limit: how many writes a client may send: a token bucket per client (RFC 2697's idea).

A client is an IPv4 address or an IPv6 network. All that is kept of it is when its bucket is full again;
once that is past, it is the same as never having written.
"""

from ipaddress import IPv6Address

from blog.core.net.ip import ip_of
from blog.gateway.edge.token_buckets import TokenBuckets

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""Methods that write nothing (RFC 9110 §9.2.1)."""

_V6_NETWORK = 64  # a client that has an IPv6 address has as many as it likes within this prefix
_TOLERANCE = 1e-9  # seconds: less than a clock can tell, more than what rounding makes of sums


class RateLimiter:
    """`rate` writes per second and client, up to `burst` at once; a rate of 0 is no limit.

    Limiters of several processes may share `buckets`; those for other writes have another `name`.
    """

    def __init__(
        self, rate: float, burst: int, buckets: TokenBuckets | None = None, name: str = ""
    ) -> None:
        self.rate = rate
        self.burst = burst
        self.buckets = buckets or TokenBuckets()
        self._name = name
        self._now = 0.0

    def acquire(self, address: str, now: float) -> float:
        """Count a write of `address` and return 0.0; over the limit return the seconds to wait."""
        self._now = now
        interval = 1 / self.rate

        def spend_now(until: float) -> tuple[float, float]:
            return spend(until, now, interval, self.burst * interval)

        return self.buckets.update(self._name + network_of(address), spend_now)

    def __repr__(self) -> str:
        """Show the limit and how many clients are counted."""
        count = self.buckets.count(self._now)
        return f"<RateLimiter: {self.rate:g}/s, {self.burst} at once, {count} clients>"


def spend(until: float, now: float, interval: float, depth: float) -> tuple[float, float]:
    """Take one token from a bucket that is full again at `until`; return the new time, and the wait.

    A token comes back each `interval` (seconds); all of them take `depth`. An impossible `until` counts
    as an empty bucket, so no client ever waits for longer than that.
    """
    until = min(max(until, now), now + depth)
    wait = until + interval - depth - now
    return (until, wait) if wait > _TOLERANCE else (until + interval, 0.0)


def network_of(address: str) -> str:
    """Return what identifies a client: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    parsed = ip_of(address)
    if not isinstance(parsed, IPv6Address):  # IPv4 that a socket for both shows, or no address
        return address if parsed is None else str(parsed)
    return f"{int(parsed) >> (128 - _V6_NETWORK):x}::/{_V6_NETWORK}"
