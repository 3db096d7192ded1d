"""Bound port: a port on every address of a host, not listened on yet. All ports of ours begin here.

`::` is every address of both families, with one socket (RFC 3493 §5.3); without IPv6 it is 0.0.0.0. A
name is each of its addresses that this machine has, at the same port.
"""

import errno
import socket
from contextlib import ExitStack
from typing import Any, Self, TypeAlias

from blog.core.net.address import Address

_EVERY, _EVERY_IPV4 = "::", "0.0.0.0"  # noqa: S104 - what BLOG_HOST may ask for
# no IPv6 in the kernel, or switched off; an address of another machine has the last one too
_MISSING = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EADDRNOTAVAIL)
_ATTEMPTS = 32
"""Free ports of the first address that may be taken at another one, until it is an error."""

_SocketAddress: TypeAlias = tuple[Any, ...]


class BoundPort:
    """One socket for each address that was bound. A context manager that closes them."""

    def __init__(self, sockets: tuple[socket.socket, ...]) -> None:
        self.sockets = sockets
        self.address = Address.of(*sockets[0].getsockname()[:2])
        """The first address, with the port that all of them have."""

    def close(self) -> None:
        """Close the sockets."""
        for one in self.sockets:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show the addresses."""
        return f"<BoundPort {self.address}, {len(self.sockets)} sockets>"


def bind(host: str, port: int, *, shared: bool = False) -> BoundPort:
    """Bind a port (0: any free one) of `host`. Raises AddressError for an invalid host, OSError.

    `shared`: other processes may bind it too (SO_REUSEPORT); the kernel spreads connections over
    those that listen.
    """
    where = Address.of(host, port)
    try:
        return _bind_each(_addresses(where), shared=shared)
    except OSError as error:
        if where.host != _EVERY or error.errno not in _MISSING:
            raise
        return _bind_each(_addresses(where.with_host(_EVERY_IPV4)), shared=shared)


def _addresses(where: Address) -> dict[_SocketAddress, socket.AddressFamily]:
    """Return the addresses to bind, each once."""
    try:
        infos = socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # a label that is too long
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
    return {info[4]: info[0] for info in infos}


def _bind_each(addresses: dict[_SocketAddress, socket.AddressFamily], *, shared: bool) -> BoundPort:
    """Bind all that this machine has. Raises OSError when it has none, or the port of one is taken."""
    is_free_to_choose = not any(address[1] for address in addresses)
    for attempt in range(_ATTEMPTS):
        try:
            return _bind_once(addresses, shared=shared, reuse=not is_free_to_choose)
        except OSError as error:
            is_last = not is_free_to_choose or attempt == _ATTEMPTS - 1
            if error.errno != errno.EADDRINUSE or is_last:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_once(
    addresses: dict[_SocketAddress, socket.AddressFamily], *, shared: bool, reuse: bool
) -> BoundPort:
    bound: list[socket.socket] = []
    missing: OSError | None = None
    with ExitStack() as stack:
        for address, family in addresses.items():
            port = bound[0].getsockname()[1] if bound else address[1]
            where = (address[0], port, *address[2:])
            try:
                bound.append(_bind_one(family, where, shared=shared, reuse=reuse))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                missing = error
            else:
                stack.callback(bound[-1].close)
        if not bound:
            assert missing is not None
            raise missing
        stack.pop_all()
    return BoundPort(tuple(bound))


def _bind_one(
    family: socket.AddressFamily, address: _SocketAddress, *, shared: bool, reuse: bool
) -> socket.socket:
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        if family == socket.AF_INET6:
            is_every = address[0] == _EVERY
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_every else 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if reuse:  # a port in TIME_WAIT is free enough
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        # set before, two that look for a free port could get the same one; set now, its connections
        # are in the way of nobody who asks for this port later
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        stack.pop_all()
    return made
