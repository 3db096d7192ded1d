"""Probe: dials an instance and tells how it went. An answer counts only from the id that was meant."""

import asyncio
import errno
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from blog.core.web import INSTANCE_HEADER, bearer
from blog.registry.membership import Outcome, Probe

PROBE_TIMEOUT = 0.3
DIAL_BACK_TIMEOUT = 1.0
_BROKEN_PAUSE = 0.005

_BROKEN = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientPayloadError,
    ConnectionResetError,
)


class Finding(NamedTuple):
    """How a probe went; `why` is for the person who has to make it go."""

    outcome: Outcome
    why: str = ""


class Dialler:
    """Dials with connections of its own, one for each probe."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=bearer(self._token),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def dial(self, probe: Probe) -> Finding:
        """Ask `GET /readyz` there.

        A connection that is accepted and then broken off is a process that is just ending (its
        listener closes after its other sockets): dial again, until it is refused or time is up.
        """
        timeout = DIAL_BACK_TIMEOUT if probe.is_dial_back else PROBE_TIMEOUT
        broken = ""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._ask(probe)
                    except _BROKEN as error:
                        if isinstance(error, aiohttp.ClientConnectorError):
                            return _not_connected(error)
                        broken = f"; the connection broke: {error}"
                        await asyncio.sleep(_BROKEN_PAUSE)
        except TimeoutError:
            return Finding(Outcome.SILENT, f"no answer to GET /readyz within {timeout:g} s{broken}")
        except (aiohttp.ClientError, ValueError) as error:
            return Finding(Outcome.SILENT, f"the answer to GET /readyz cannot be read: {error}")

    async def _ask(self, probe: Probe) -> Finding:
        async with self._http.get(
            f"http://{probe.address}/readyz",
            headers={INSTANCE_HEADER: probe.id},
            allow_redirects=False,
        ) as response:
            who = response.headers.get(INSTANCE_HEADER)
            if who != probe.id:
                return Finding(Outcome.SILENT, _somebody_else(who))
            if response.status == HTTPStatus.OK:
                return Finding(Outcome.READY)
            return Finding(Outcome.ALIVE, f"GET /readyz answered {response.status}, not 200")


def _somebody_else(who: str | None) -> str:
    """Tell what is wrong with an answer that does not carry the id."""
    if who is None:
        return f"GET /readyz answered without the header {INSTANCE_HEADER}: <id>"
    return f"GET /readyz was answered by another instance, {who}"


def _not_connected(error: aiohttp.ClientConnectorError) -> Finding:
    """Refused is conclusive: nobody listens there. Anything else may be the network."""
    if error.os_error.errno == errno.ECONNREFUSED:
        return Finding(Outcome.REFUSED, "connection refused")
    return Finding(Outcome.SILENT, f"cannot connect: {error.os_error.strerror or error.os_error}")
