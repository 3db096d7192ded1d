"""An open port over TLS: who never speaks it, or speaks something else, is let go without a word."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from blog.http import listener
from tests.certificates import Tls, tls_of
from tests.http.doors import HEAD, open_door
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
    async with open_door(tls) as rig:
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
    async with open_door(tls) as rig:
        silent, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        begun, begun_writer = await asyncio.open_connection("127.0.0.1", rig.port)
        begun_writer.write(b"\x16\x03\x01\x02\x00")  # the first bytes of a handshake
        async with asyncio.timeout(10):
            for reader in (silent, begun):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        assert not rig.places.open
        await broken_off(writer)
        await broken_off(begun_writer)
