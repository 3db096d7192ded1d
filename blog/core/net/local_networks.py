"""Local networks: the private networks that this machine, or container, is on."""

import time
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

import psutil

from blog.core.logs import get_logger
from blog.core.net.ip import ip_of

# seconds; a container may be connected to another network while it runs, and disconnected from one
_REFRESH, _KEEP = 1.0, 10.0
_REMEMBERED = 10_000  # hosts

log = get_logger()


class LocalNetworks:
    """The networks of the interfaces, read again when an address is in none of them.

    `now` is in monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._interfaces: frozenset[IPv4Interface | IPv6Interface] = frozenset()
        self._near: set[str] = set()
        """Hosts that were found in them since they were read."""
        self._read_at = float("-inf")

    def contains(self, host: str) -> bool:
        """Return whether `host`, an IP address, is this machine's or in one of its private networks."""
        age = self._now() - self._read_at
        if age < _KEEP and host in self._near:
            return True
        if age >= _KEEP or (age >= _REFRESH and not self._knows(host)):
            self._read()
        is_near = self._knows(host)
        if is_near and len(self._near) < _REMEMBERED:
            self._near.add(host)
        return is_near

    def _read(self) -> None:
        self._read_at = self._now()
        self._near.clear()
        try:
            self._interfaces = interfaces()
        except OSError as error:  # too many open files, or a sandbox: what was known still counts
            log.warning("networks.unreadable", reason=str(error), known=len(self._interfaces))

    def _knows(self, host: str) -> bool:
        address = ip_of(host)
        return address is not None and any(
            address == one.ip or (not one.network.is_global and address in one.network)
            for one in self._interfaces
        )

    def __repr__(self) -> str:
        """Show the addresses with their networks."""
        return f"<LocalNetworks {', '.join(sorted(map(str, self._interfaces)))}>"


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
