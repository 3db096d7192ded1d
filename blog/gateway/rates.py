"""Rates: how many writes a client may send. Pure; a token bucket per client (RFC 2697's idea).

Only those who have lately written are remembered: a full bucket is the same as none.
"""

from ipaddress import IPv6Address, ip_address

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods that write nothing (RFC 9110 §9.2.1)."""

_REMEMBERED = 100_000
_V6_NETWORK = 64  # whoever has an IPv6 address has as many as he likes within this prefix


class Rates:
    """`rate` writes per second and client, up to `burst` at once; a rate of 0 is no limit."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, address: str, now: float) -> float:
        """Count a write of `address`, if it may write now: 0.0. Else return the seconds until it may."""
        who = network_of(address)
        tokens, at = self._buckets.pop(who, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - at) * self.rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self.rate
        self._buckets[who] = (tokens if wait else tokens - 1.0, now)
        self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Forget the oldest: whose bucket is full by now, and whoever there is no room for."""
        full_after = self.burst / self.rate
        while self._buckets:
            oldest, (_, at) = next(iter(self._buckets.items()))
            if now - at < full_after and len(self._buckets) <= _REMEMBERED:
                return
            del self._buckets[oldest]

    def __repr__(self) -> str:
        """Show the limit and how many are remembered."""
        return f"<Rates: {self.rate:g}/s, {self.burst} at once, {len(self._buckets)} clients>"


def network_of(address: str) -> str:
    """Return what stands for one client: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{int(parsed) >> (128 - _V6_NETWORK):x}::/{_V6_NETWORK}"
    return address
