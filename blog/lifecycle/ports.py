"""Ports: where an instance listens, and what may stand in front of its aiohttp door there."""

import asyncio
import errno
from collections.abc import Callable
from typing import Protocol, TypeAlias

from aiohttp import web

from blog.core.errors import SettingsError

_IN_USE = "{name}={port}: {host}:{port} is taken; another blog may run here, or set another {name}."
_SWEEP_INTERVAL = 0.25

ProtocolFactory: TypeAlias = Callable[[], asyncio.Protocol]


class FastPath(Protocol):
    """A door in front of the aiohttp app, on the same port: it answers what it can answer faster."""

    def wrap(self, behind: ProtocolFactory) -> ProtocolFactory:
        """Return what makes the protocol of each connection; `behind` makes one of aiohttp's."""
        ...

    def sweep(self) -> None:
        """Do now and then what is to be done."""

    def close(self) -> None:
        """End the connections that were not handed over."""


class _Site(web.TCPSite):
    """A port whose connections come to `front` first."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, front: FastPath) -> None:
        super().__init__(runner, host, port)
        self._where = (host, port)
        self._front = front

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        assert self._runner.server is not None
        protocol = self._front.wrap(self._runner.server)
        self._server = await asyncio.get_running_loop().create_server(protocol, *self._where)


async def listen(
    runner: web.AppRunner, host: str, setting: str, port: int, *, front: FastPath | None = None
) -> str:
    """Bind `runner` on host and port (0: any free one); return the address, `host:port`.

    Raises SettingsError that names `setting` when the port is taken or may not be bound.
    """
    site = web.TCPSite(runner, host, port) if front is None else _Site(runner, host, port, front)
    try:
        await site.start()
    except OSError as error:
        raise cannot_listen(error, host, setting, port) from None
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"{shown}:{bound[1]}"


async def sweep(front: FastPath) -> None:
    """Let `front` do now and then what is to be done, for ever."""
    while True:
        await asyncio.sleep(_SWEEP_INTERVAL)
        front.sweep()


def cannot_listen(error: OSError, host: str, setting: str, port: int) -> SettingsError:
    """Make the error that says which setting to change."""
    if error.errno == errno.EADDRINUSE:
        return SettingsError(_IN_USE.format(name=setting, port=port, host=host))
    return SettingsError(f"{setting}={port}: cannot listen on {host}: {error}")
