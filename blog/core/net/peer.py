"""Peer: the IP address at an end of a connection, in the one form that is compared, counted and logged.

A socket that serves both families shows IPv4 as `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2): with that,
networks that are trusted, limits per address and logs would each see another client (`ip`). No other
module asks a connection for its ends.
"""

from typing import Any, Protocol

from aiohttp import web

from blog.core.net.ip import plain_ip


def peer_of(request: web.BaseRequest) -> str:
    """Return the IP address that a request comes from; "" if it has none (a Unix socket, or gone)."""
    return plain_ip(request.remote or "")


class HasEnds(Protocol):
    """A connection that can be asked for its ends: a transport of asyncio, a WebSocket of aiohttp."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known by this name."""
        ...


def remote_host(transport: HasEnds) -> str:
    """Return the IP address of the other end; "" if it has none."""
    return _host_of(transport.get_extra_info("peername"))


def local_host(transport: HasEnds) -> str:
    """Return the IP address of our end; "" if it has none."""
    return _host_of(transport.get_extra_info("sockname"))


def _host_of(name: object) -> str:
    return plain_ip(name[0]) if isinstance(name, tuple) and name else ""
