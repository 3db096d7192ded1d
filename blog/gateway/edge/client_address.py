"""Client address: the client behind trusted proxies. Pure (RFC 7239 §5.2, as X-Forwarded-For).

IPv4 that is written as IPv6 (`::ffff:192.0.2.1`), by a proxy or in a setting, is IPv4.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from blog.core.net.ip import ip_of

_MAX_PROXIES = 32
_MAPPED_BITS = 96
"""The length of the prefix of IPv4 within IPv6 (RFC 4291 §2.5.5.2)."""


class TrustedProxies:
    """Proxies that are trusted to name their clients: those in `cidrs`."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self._networks = [_network(cidr) for cidr in cidrs]

    def trusts(self, address: str) -> bool:
        """Return whether a peer is one of them."""
        if not self._networks:
            return False
        parsed = ip_of(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_of(self, peer: str, forwarded_for: Iterable[bytes]) -> str:
        """Return the client that `peer` forwards for: the last address in its list that is not trusted.

        What comes before that may be forged. Where the list has something that is not an address, or more
        trusted ones than is plausible, the last good one counts.
        """
        client = peer
        listed = [part for value in forwarded_for for part in value.decode("latin-1").split(",")]
        for part in listed[: -_MAX_PROXIES - 1 : -1]:
            if not self.trusts(client):
                break
            address = _address(part)
            if address is None:
                break
            client = address
        return client


def _address(text: str) -> str | None:
    """Parse an address, in brackets or with a port as some write it. A zone is dropped."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = ip_of(text)
    return str(found) if found is not None else None


def _network(cidr: str) -> IPv4Network | IPv6Network:
    """Parse a network. Raises ValueError."""
    found = ip_network(cidr, strict=False)
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is None or found.prefixlen < _MAPPED_BITS:
        return found
    return IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
