"""Dialling an instance: `GET /readyz` at its address, which counts only if it is the one we mean."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from blog.core.instance import Instance
from blog.core.net.http_client import client_session
from blog.core.web import INSTANCE_HEADER, bearer
from blog.registry.server.transitions import ProbeResult

PROBE_TIMEOUT = 0.3
DIAL_BACK_TIMEOUT = 1.0
_AGAIN = 0.005  # seconds; a process that is being killed closes its sockets one after the other


class ProbeAnswer(NamedTuple):
    """What a probe found; `is_ready` when the answer was 200."""

    result: ProbeResult
    why: str
    is_ready: bool = False

    @property
    def is_there(self) -> bool:
        """Tell whether the instance itself answered, ready or not."""
        return self.result is ProbeResult.ANSWERED


class Prober:
    """Dials instances, each time over a connection of its own."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    @staticmethod
    @asynccontextmanager
    async def open(token: str | None) -> AsyncIterator["Prober"]:
        """Make one with a client that keeps no connections: an open one would prove nothing."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        client = client_session(looks_at_heads_only=True, connector=connector, headers=bearer(token))
        async with client as http:
            yield Prober(http)

    async def dial(self, instance: Instance, timeout: float) -> ProbeAnswer:
        """Ask the instance whether it is there; never raises.

        A connection that is taken and then reset says nothing yet: ask again.
        """
        try:
            async with asyncio.timeout(timeout):
                while (answer := await self._ask(instance)) is None:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_AGAIN)
                return answer
        except TimeoutError:
            return ProbeAnswer(ProbeResult.SILENT, f"no answer within {timeout} s")

    async def _ask(self, instance: Instance) -> ProbeAnswer | None:
        """Ask once; None when the connection broke before an answer."""
        url = f"http://{instance.address}/readyz"
        try:
            async with self._http.get(url, headers={INSTANCE_HEADER: instance.id}) as response:
                return _judge(instance, response)
        except aiohttp.ClientConnectorError as error:
            refused = error.errno == errno.ECONNREFUSED
            return ProbeAnswer(ProbeResult.REFUSED if refused else ProbeResult.SILENT, str(error))
        except ValueError as error:  # of the address: no label may be empty, say
            return ProbeAnswer(ProbeResult.REFUSED, f"{instance.address} is not a valid address: {error}")
        except (aiohttp.ClientError, OSError):
            return None


def _judge(instance: Instance, response: aiohttp.ClientResponse) -> ProbeAnswer:
    answered = response.headers.get(INSTANCE_HEADER)
    if answered != instance.id:
        # somebody else has the address now: the one we mean is not there
        return ProbeAnswer(
            ProbeResult.REFUSED, f"{answered or 'something that is not ours'} answers there"
        )
    is_ready = response.status == HTTPStatus.OK
    return ProbeAnswer(ProbeResult.ANSWERED, f"GET /readyz answered {response.status}", is_ready)
