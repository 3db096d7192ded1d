"""An open port over TLS: who never speaks it, or speaks something else, is let go without a word."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blog.core.net.bound_port import bind
from blog.http import listener
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, LINGER_TIMEOUT
from blog.http.server import ServerConnection
from tests.certificates import Tls, tls_of
from tests.http.rig import HEAD, Echo, Rig, opened_rig, until
from tests.loops import broken_off


@pytest.fixture
def tls(tls_files: Any) -> Tls:
    """Give what the two sides speak TLS with: a plain port shakes no hands."""
    return tls_of(tls_files)


@pytest.fixture
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that nothing was said of it, least of all a traceback."""
    with caplog.at_level(logging.WARNING):
        yield
    assert not caplog.records


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("said", [HEAD % 1, b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100])
async def test_what_is_not_tls_is_let_go(tls: Tls, said: bytes) -> None:
    """Plain HTTP, or noise; those who speak TLS are served on."""
    async with opened_rig(tls) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(said)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/" not in await reader.read()
        await broken_off(writer)
        reader, writer = await rig.connect()
        writer.write(HEAD % 1)
        await reader.readuntil(b"/1")


@pytest.mark.usefixtures("_quiet")
async def test_a_handshake_that_never_ends_is_broken_off(tls: Tls, monkeypatch: Any) -> None:
    """As a head that does not come, and it takes no place until then."""
    monkeypatch.setattr(listener, "HEAD_TIMEOUT", 0.05)
    async with opened_rig(tls) as rig:
        silent, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        begun, begun_writer = await asyncio.open_connection("127.0.0.1", rig.port)
        begun_writer.write(b"\x16\x03\x01\x02\x00")  # the first bytes of a handshake
        async with asyncio.timeout(10):
            for reader in (silent, begun):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        assert not rig.limiter.open
        await broken_off(writer)
        await broken_off(begun_writer)


class Mute:
    """A client that shakes hands, takes what comes, and says nothing more, not even goodbye."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: Tls) -> None:
        self.reader, self.writer = reader, writer
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.client.wrap_bio(self._received, self._to_send)

    async def do(self, step: Callable[[], Any]) -> Any:
        """Do a step of TLS, with what it needs from the network."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                done = None
            self.writer.write(self._to_send.read())
            if done is not None:
                return done
            self._received.write(await self.reader.read(65536))

    async def shake_hands(self) -> None:
        """Do the handshake."""

        def shake() -> bool:
            self._tls.do_handshake()
            return True

        await self.do(shake)

    async def ask(self, request: bytes) -> bytes:
        """Send a request, and read what comes first."""
        await self.do(lambda: self._tls.write(request))
        return bytes(await self.do(lambda: self._tls.read(65536)))


async def mute(rig: Rig, tls: Tls) -> Mute:
    """Open the connection of one."""
    client = Mute(*await asyncio.open_connection("127.0.0.1", rig.port), tls)
    rig.writers.append(client.writer)
    await client.shake_hands()
    return client


async def test_silent_clients_keep_nobody_out(tls: Tls) -> None:
    """They shake hands and say nothing more: after the time of a head their places are free."""
    async with opened_rig(tls, total=2) as rig:
        for _ in range(2):
            await mute(rig, tls)
        await until(lambda: len(rig.limiter.open) == 2)
        rig.pass_time(HEAD_TIMEOUT + 0.1)
        await until(lambda: not rig.limiter.open)
        reader, writer = await rig.connect()
        writer.write(HEAD % 1)
        await reader.readuntil(b"/1")


async def test_a_client_that_has_its_response_and_never_closes_gives_its_place_back(tls: Tls) -> None:
    """Its machine has acknowledged every byte: there is nothing to wait for."""
    async with opened_rig(tls) as rig:
        client = await mute(rig, tls)
        said = await client.ask((HEAD % 1).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert said.endswith(b"/1")
        await until(lambda: len(rig.limiter.closing) == 1)
        [connection] = rig.limiter.open
        await until(connection.has_delivered)
        rig.pass_time(LINGER_TIMEOUT + 0.1)
        await until(lambda: not rig.limiter.open)


@pytest.mark.parametrize("both", ["plain", "TLS"])
async def test_on_every_address_each_client_has_its_own(both: str, tls: Tls) -> None:
    """IPv4 and IPv6 come by one socket; IPv4 is not shown as IPv6, and counts as one address."""
    async with opened_rig(tls if both == "TLS" else None, host="::", per_address=1) as rig:
        for client in ("127.0.0.1", "::1"):
            reader, writer = await rig.connect(client)
            writer.write(HEAD % 1)
            await reader.readuntil(b"/1")
        assert sorted(one.address for one in rig.limiter.open) == ["127.0.0.1", "::1"]
        reader, writer = await rig.open("127.0.0.1")
        assert b" 429 " in await reader.readline()


async def test_a_name_is_listened_on_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """And let go at each."""
    original = socket.getaddrinfo

    def resolved(_: str, *args: Any, **options: Any) -> list[Any]:
        return [info for host in ("127.0.0.1", "::1") for info in original(host, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    bound = bind("localhost", 0)
    monkeypatch.undo()
    limiter: ConnectionLimiter[ServerConnection] = ConnectionLimiter(9, 9)
    async with listener.listening(bound, Echo(), limiter, now=lambda: 1.0, sweep=lambda: None) as port:
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, bound.address.port)
            writer.write(HEAD % 1)
            await reader.readuntil(b"/1")
            await broken_off(writer)
        port.stop()
        for host in ("127.0.0.1", "::1"):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, bound.address.port)
