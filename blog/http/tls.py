"""TLS: the certificate of a door, taken up anew when its files change."""

import ssl
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.logs import get_logger

log = get_logger()


class Certificate:
    """The chain in `chain` with its key in `key` (PEM). Raises SettingsError if they are none."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        try:
            self._read_at = self._changed_at()
            self.context = self._load(_context())
        except (OSError, ValueError) as error:
            raise SettingsError(f"BLOG_TLS_CERT={chain}, BLOG_TLS_KEY={key}: {error}") from None

    def renew(self) -> bool:
        """Take up what changed in the files, for new connections; tell whether something did.

        What cannot be read changes nothing.

        They are tried on their own first: half-written files must not spoil what works.
        """
        try:
            changed_at = self._changed_at()
            if changed_at == self._read_at:
                return False
            self._read_at = changed_at
            self._load(_context())
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.warning("certificate.unreadable", chain=str(self._chain), why=str(error))
            return False
        log.info("certificate.renewed", chain=str(self._chain))
        return True

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_cert_chain(self._chain, self._key)
        return context

    def _changed_at(self) -> tuple[tuple[int, int, int], ...]:
        """Return what tells versions of the files apart."""
        stats = (self._chain.stat(), self._key.stat())
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)

    def __repr__(self) -> str:
        """Show which."""
        return f"<Certificate {self._chain}>"


def _context() -> ssl.SSLContext:
    """Return what every such door speaks: TLS 1.2 and up, with HTTP/1.1 in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
