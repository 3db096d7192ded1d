"""TLS: the certificate of a port, reloaded when its files change."""

import ssl
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.logs import get_logger

log = get_logger()


class Certificate:
    """The chain in `chain` with its key in `key` (PEM). Raises SettingsError if they are not valid."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        try:
            self._loaded_version = self._version()
            self.context = self._load(_context())
        except (OSError, ValueError) as error:
            raise SettingsError(f"BLOG_TLS_CERT={chain}, BLOG_TLS_KEY={key}: {error}") from None

    def reload(self) -> bool:
        """Load the files again if they changed, for new connections; return whether that was done.

        Files that cannot be read change nothing. They are tried on their own first: half-written files
        must not spoil what works.
        """
        try:
            version = self._version()
            if version == self._loaded_version:
                return False
            self._loaded_version = version
            self._load(_context())
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.warning("certificate.unreadable", chain=str(self._chain), reason=str(error))
            return False
        log.info("certificate.reloaded", chain=str(self._chain))
        return True

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_cert_chain(self._chain, self._key)
        return context

    def _version(self) -> tuple[tuple[int, int, int], ...]:
        """Return what differs between versions of the files."""
        stats = (self._chain.stat(), self._key.stat())
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)

    def __repr__(self) -> str:
        """Show the file."""
        return f"<Certificate {self._chain}>"


def _context() -> ssl.SSLContext:
    """Return what every TLS port uses: TLS 1.2 and up, with HTTP/1.1 in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
