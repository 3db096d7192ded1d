"""Probes: `GET /readyz` at an instance's address; only a response of the instance that is meant counts.

At most one probe of an instance at a time. If one is reported during a probe, or just after it, another
probe follows a moment later: the first one may have started too early.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, Self

from blog.core.background import TaskSupervisor
from blog.core.instance import Instance
from blog.core.net.address import Address, AddressError
from blog.core.net.ip import ip_of
from blog.core.net.lookup import Lookups
from blog.core.printable import printable
from blog.core.web import INSTANCE_HEADER
from blog.registry.server.transitions import ProbeResult

PROBE_TIMEOUT = 0.3
DIAL_BACK_TIMEOUT = 1.0
REPORTS_INTERVAL = 0.05
"""Seconds between probes of one instance, however many reports there are of it."""
# seconds between tries: a process that is being killed closes its sockets one after the other
_RETRY_AFTER = (0.01, 0.03, 0.09)
_MAX_HEAD = 16 << 10  # bytes of a response that are read
_MAX_ID = 128  # characters of what calls itself an instance
_LOOKUPS = 32  # names at once
_REQUEST = (
    "GET /readyz HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
    f"{INSTANCE_HEADER}: {{id}}\r\n\r\n"
)
_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")
_INSTANCE = INSTANCE_HEADER.lower().encode()
_NO_INSTANCE = "a program that is no instance responds there"
_BROKEN = "every connection was closed without a response"


class ProbeOutcome(NamedTuple):
    """What a probe found, and why; `is_ready` when the status was 200."""

    result: ProbeResult
    why: str
    is_ready: bool = False


class Prober:
    """Probes instances, each time over a new connection: an open one would prove nothing.

    It sends no token, and reads one head of a limited length: the address is what a joiner says, and a
    program there may send whatever it likes, without end.
    """

    def __init__(self) -> None:
        self._lookups = Lookups(_LOOKUPS)

    async def probe(self, instance: Instance, timeout: float, *, is_retried: bool = True) -> ProbeOutcome:
        """Return whether the instance responds within `timeout` seconds; never raises.

        A connection that is accepted and then reset proves nothing: it `is_retried` a few times.
        """
        try:
            async with asyncio.timeout(timeout):
                for pause in _RETRY_AFTER if is_retried else ():
                    if (outcome := await self._ask(instance)) is not None:
                        return outcome
                    await asyncio.sleep(pause)
                return await self._ask(instance) or ProbeOutcome(ProbeResult.SILENT, _BROKEN)
        except TimeoutError:
            return ProbeOutcome(ProbeResult.SILENT, f"no response within {timeout} s")

    async def _ask(self, instance: Instance) -> ProbeOutcome | None:
        """Ask once; None when the connection broke before a response."""
        try:
            reader, writer = await self._connect(instance.address)
        except TimeoutError:
            raise
        except (AddressError, UnicodeError) as error:  # no label of a name may be empty, say
            why = f"{instance.address} is not a valid address: {error}"
            return ProbeOutcome(ProbeResult.REFUSED, why)
        except OSError as error:
            is_refused = isinstance(error, ConnectionRefusedError)
            return ProbeOutcome(ProbeResult.REFUSED if is_refused else ProbeResult.SILENT, str(error))
        try:
            writer.write(_REQUEST.format(host=instance.address, id=instance.id).encode())
            return _outcome_of(instance, await reader.readuntil(_END))
        except asyncio.LimitOverrunError:
            return ProbeOutcome(ProbeResult.REFUSED, _NO_INSTANCE)
        except (OSError, EOFError):
            return None
        finally:
            writer.transport.abort()  # nothing that follows is read

    async def _connect(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address of a name that accepts.

        Raises AddressError, UnicodeError, OSError (ConnectionRefusedError only if each of them refuses).
        """
        address = Address.parse(text)
        failures: list[OSError] = []
        for host in await self._hosts_of(address):
            try:
                return await asyncio.open_connection(host, address.port, limit=_MAX_HEAD)
            except OSError as error:
                failures.append(error)
        raise next((one for one in failures if not isinstance(one, ConnectionRefusedError)), failures[0])

    async def _hosts_of(self, address: Address) -> list[str]:
        if ip_of(address.host) is not None:
            return [address.host]
        return [str(where[0]) for _, where in await self._lookups.find(address.host, address.port)]

    def __repr__(self) -> str:
        """Show what is looked up."""
        return f"<Prober: {self._lookups!r}>"


class ProbeScheduler:
    """Runs `probe` for instances by their ids; `probe` never raises."""

    def __init__(self, probe: Callable[[str], Awaitable[None]]) -> None:
        self._probe = probe
        self._again: dict[str, bool] = {}
        self._tasks = TaskSupervisor("probe")
        self._is_open = False

    def is_scheduled(self, instance_id: str) -> bool:
        """Return whether the instance is being probed, or was a moment ago."""
        return instance_id in self._again

    def schedule(self, instance_id: str) -> None:
        """Probe the instance now, or once more after the probe that is under way."""
        if instance_id in self._again:
            self._again[instance_id] = True
        elif self._is_open:
            self._again[instance_id] = False
            self._tasks.start(self._run(instance_id))

    async def _run(self, instance_id: str) -> None:
        try:
            await self._probe(instance_id)
            await asyncio.sleep(REPORTS_INTERVAL)
            while self._again[instance_id]:
                self._again[instance_id] = False
                await self._probe(instance_id)
                await asyncio.sleep(REPORTS_INTERVAL)
        finally:
            del self._again[instance_id]

    async def __aenter__(self) -> Self:
        self._is_open = True
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        await self._tasks.__aexit__()

    def __repr__(self) -> str:
        """Show the instances that are being probed."""
        return f"<ProbeScheduler of {', '.join(self._again) or 'no instance'}>"


def _outcome_of(instance: Instance, head: bytes) -> ProbeOutcome:
    """Return what the head of a response says (RFC 9112 §4)."""
    first, *lines = head.split(b"\r\n")
    found = _STATUS_LINE.match(first)
    if found is None:
        return ProbeOutcome(ProbeResult.REFUSED, _NO_INSTANCE)
    status = int(found[1])
    responder = next((value for line in lines if (value := _instance_in(line))), None)
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        shown = printable(responder or "another instance", _MAX_ID)
        return ProbeOutcome(ProbeResult.REFUSED, f"{shown} responds at its address (421)")
    if responder != instance.id:
        # another instance, or another program, has the address now: the one that is meant is gone
        why = _NO_INSTANCE if responder is None else f"{printable(responder, _MAX_ID)} responds there"
        return ProbeOutcome(ProbeResult.REFUSED, why)
    is_ready = status == HTTPStatus.OK
    return ProbeOutcome(ProbeResult.ANSWERED, f"GET /readyz returned {status}", is_ready)


def _instance_in(line: bytes) -> str | None:
    """Return the value of a header line if it names the instance that responds."""
    name, _, value = line.partition(b":")
    return value.strip().decode("latin-1") if name.lower() == _INSTANCE else None
