"""Ports: where an instance listens, and the fast path that may handle requests there before aiohttp."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, TypeAlias

from aiohttp import web

from blog.core.errors import SettingsError
from blog.core.net.address import Address
from blog.core.net.bound_port import bind

_IN_USE = "{name}={port}: {address} is taken; another blog may run here, or set another {name}."
_SWEEP_INTERVAL = 0.25

ProtocolFactory: TypeAlias = Callable[[], asyncio.Protocol]


class FastPath(Protocol):
    """Takes the connections of a port before the aiohttp app, and handles what it can answer faster."""

    def wrap(self, fallback: ProtocolFactory) -> ProtocolFactory:
        """Return what makes the protocol of each connection; `fallback` makes one of aiohttp's."""
        ...

    def sweep(self) -> None:
        """Do periodic work: close connections that are past a deadline."""

    def close(self) -> None:
        """Close the connections that were not handed over."""


class _Site(web.SockSite):
    """A bound socket; its connections come to `fast_path` first, if there is one."""

    def __init__(self, runner: web.AppRunner, bound: socket.socket, fast_path: FastPath | None) -> None:
        super().__init__(runner, bound)
        self._fast_path = fast_path

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        protocol: ProtocolFactory | None = self._runner.server
        assert protocol is not None
        if self._fast_path is not None:
            protocol = self._fast_path.wrap(protocol)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, sock=self._sock, backlog=self._backlog)


async def listen(
    runner: web.AppRunner, host: str, setting: str, port: int, *, fast_path: FastPath | None = None
) -> str:
    """Bind `runner` on host and port (0: any free one); return the address, `host:port`.

    Raises SettingsError that names `setting` when the port is taken or may not be bound.
    """
    with ExitStack() as stack:
        try:
            bound = stack.enter_context(bind(host, port))
            for one in bound.sockets:
                await _Site(runner, one, fast_path).start()
        except OSError as error:
            raise cannot_listen(error, host, setting, port) from None
        stack.pop_all()  # the runner closes them
    return str(bound.address)


async def sweep(fast_path: FastPath) -> None:
    """Call `sweep` of `fast_path` periodically, until cancelled."""
    while True:
        await asyncio.sleep(_SWEEP_INTERVAL)
        fast_path.sweep()


def cannot_listen(error: OSError, host: str, setting: str, port: int) -> SettingsError:
    """Make the error that says which setting to change."""
    if error.errno == errno.EADDRINUSE:
        return SettingsError(_IN_USE.format(name=setting, port=port, address=Address.of(host, port)))
    problem = f"cannot listen on {host}: {error.strerror or error}"
    if error.errno == errno.EACCES:
        return SettingsError(f"{setting}={port}: {problem}; set another {setting}.")
    return SettingsError(f"BLOG_HOST={host}: {problem}; set another BLOG_HOST.")
