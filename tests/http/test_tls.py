"""A TLS port reloads its certificate while it is open."""

import asyncio
import ssl
from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.http.tls import Certificate
from tests.certificates import write_certificate


async def name_at(port: int) -> bytes:
    """Return the certificate that is shown at `port`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    assert isinstance(shown, bytes)
    return shown


async def test_new_connections_get_the_new_certificate(tmp_path: Path) -> None:
    """Once both files have changed; a half-written one changes nothing."""
    chain, key = write_certificate(tmp_path, "first.example")
    certificate = Certificate(chain, key)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        first = await name_at(port)
        assert b"first.example" in first
        assert not certificate.reload()
        whole = chain.read_text()
        chain.write_text(whole[:100])
        assert not certificate.reload()
        assert await name_at(port) == first
        write_certificate(tmp_path, "second.example")
        assert certificate.reload()
        assert b"second.example" in await name_at(port)


def test_files_that_are_none_are_a_clear_error(tmp_path: Path) -> None:
    """It names both settings and the path."""
    with pytest.raises(SettingsError, match=r"BLOG_TLS_CERT=.*chain\.pem, BLOG_TLS_KEY="):
        Certificate(tmp_path / "chain.pem", tmp_path / "key.pem")
