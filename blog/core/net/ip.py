"""IP: an IP address as text, read in one way: without a zone, and IPv4 within IPv6 is IPv4.

A socket that serves both families shows IPv4 as `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2), and so do some
proxies and settings: it must be one client, one network and one limit.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

_MAPPED = "::ffff:"


def parse_ip(text: str) -> IPv4Address | IPv6Address:
    """Read an IP address. Raises ValueError."""
    found = ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


@lru_cache(maxsize=4096)
def ip_of(text: str) -> IPv4Address | IPv6Address | None:
    """Read an IP address; None for what is none."""
    try:
        return parse_ip(text)
    except ValueError:
        return None


def plain_ip(host: str) -> str:
    """Return an address as sockets show it in that form, as text, without reading it."""
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    return host.removeprefix(_MAPPED) if "." in host else host
