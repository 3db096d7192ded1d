"""Dial target: which address a registry dials when nobody vouches for who announced it.

Only hosts of the private networks that the registry is on, never its own loopback. A name is resolved
once, and exactly the address that was checked is dialled: a name may mean another one a moment later.
"""

from ipaddress import IPv4Address, IPv6Address

from blog.core.net.address import Address
from blog.core.net.ip import ip_of, parse_ip
from blog.core.net.local_networks import LocalNetworks
from blog.core.net.lookup import Lookups

_RESOLVERS = 32  # more than one stranger has dialled at once, so that slow names hold up few others


class NotAllowedError(Exception):
    """The address may not be dialled, or means nothing; the message says why."""


class DialTargets:
    """Checks the addresses of strangers by `networks`, those that the registry is on."""

    def __init__(self, networks: LocalNetworks) -> None:
        self._networks = networks
        self._lookups = Lookups(_RESOLVERS)

    async def resolve(self, announced: str) -> str:
        """Return the address to dial for the one that was announced. Raises NotAllowedError."""
        try:
            where = Address.parse(announced)
            hosts = await self._hosts_of(where)
        except (ValueError, OSError) as error:  # UnicodeError is a ValueError
            raise NotAllowedError(f"{announced} has no address: {error}") from None
        for host in hosts:
            if not may_dial(host, self._networks):
                raise NotAllowedError(f"{host} is not in a network that strangers may announce")
        return str(where.with_host(str(hosts[0])))

    async def _hosts_of(self, where: Address) -> list[IPv4Address | IPv6Address]:
        """Return every address of a host, an IPv4-mapped one as IPv4. Raises OSError, ValueError."""
        address = ip_of(where.host)
        if address is not None:
            return [address]
        # a name, or one of the old ways to write IPv4
        found = await self._lookups.find(where.host, where.port)
        return [parse_ip(str(sockaddr[0])) for _, sockaddr in found]

    def __repr__(self) -> str:
        """Show the networks."""
        return f"<DialTargets in {self._networks!r}>"


def may_dial(host: IPv4Address | IPv6Address, networks: LocalNetworks) -> bool:
    """Return whether a registry dials `host` for a stranger."""
    if host.is_loopback or host.is_unspecified or host.is_multicast:
        return False
    return networks.contains(str(host))
