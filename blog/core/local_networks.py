"""Local networks: the private networks that this machine, or container, is on."""

import time
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

import psutil

_REFRESH = 1.0  # seconds; a container may be connected to another network while it runs


class LocalNetworks:
    """The networks of the interfaces, read again when an address is in none of them."""

    def __init__(self) -> None:
        self._interfaces: frozenset[IPv4Interface | IPv6Interface] = frozenset()
        self._read_at = float("-inf")

    def contains(self, host: str) -> bool:
        """Return whether `host`, an IP address, is this machine's or in one of its private networks."""
        if self._knows(host):
            return True
        now = time.monotonic()
        if now - self._read_at < _REFRESH:
            return False
        self._read_at = now
        self._interfaces = interfaces()
        return self._knows(host)

    def _knows(self, host: str) -> bool:
        address = plain_address(host)
        return address is not None and any(
            address == one.ip or (not one.network.is_global and address in one.network)
            for one in self._interfaces
        )

    def __repr__(self) -> str:
        """Show the addresses with their networks."""
        return f"<LocalNetworks {', '.join(sorted(map(str, self._interfaces)))}>"


def plain_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address as it is compared: no zone, and IPv4 that is written as IPv6 is IPv4.

    None for what is no IP address.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def interfaces() -> frozenset[IPv4Interface | IPv6Interface]:
    """Return the addresses of this machine's interfaces, each with its network."""
    found = set()
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            try:
                found.add(_interface(one.address.partition("%")[0], one.netmask))
            except ValueError:  # the address of a link, or of a kind that has no hosts
                continue
    return frozenset(found)


def _interface(address: str, netmask: str | None) -> IPv4Interface | IPv6Interface:
    """Return an address with its network; without a netmask it is alone. Raises ValueError."""
    if netmask is None:
        return ip_interface(address)
    if ":" in netmask:  # IPv6 networks are written with a length only
        netmask = str(int(ip_address(netmask)).bit_count())
    return ip_interface(f"{address}/{netmask}")
