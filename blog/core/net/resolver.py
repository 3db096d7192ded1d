"""Resolver: names for aiohttp's clients, looked up in threads that hold up no end of a process.

aiohttp's own uses the executor of the loop, whose threads are waited for.
"""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from blog.core.net.lookup import Lookups

_AT_ONCE = 32
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class LookupResolver(AbstractResolver):
    """A resolver of one client; the names of another client wait for none of it."""

    def __init__(self) -> None:
        self._lookups = Lookups(_AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError."""
        found = await self._lookups.find(host, port, family=family, flags=socket.AI_ADDRCONFIG)
        return [
            ResolveResult(
                hostname=host,
                # with its zone, if it is of one link
                host=socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0],
                port=port,
                family=family,
                proto=socket.IPPROTO_TCP,
                flags=_NUMERIC,
            )
            for family, where in found
        ]

    async def close(self) -> None:
        """Let threads end by themselves."""

    def __repr__(self) -> str:
        """Show what is looked up."""
        return f"<LookupResolver: {self._lookups!r}>"


def connector(**options: bool | float) -> aiohttp.TCPConnector:
    """Make a connector with such a resolver; `options` are those of aiohttp's."""
    return aiohttp.TCPConnector(resolver=LookupResolver(), **options)  # type: ignore[arg-type]
