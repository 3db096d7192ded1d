"""Address: a host and a port, as they are read, written and compared; an IPv6 host in brackets.

`blog healthcheck` starts every few seconds in every container, and pays for each import of this file:
only the light part of the standard library, to which `typing` does not belong.
"""

import re
import socket

_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65535
_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with that is written as IPv6 (RFC 4291 §2.5.5.2)."""
_IPV4_LENGTH, _LOOPBACK_NET, _LOOPBACK_IPV6 = 4, 127, bytes(15) + b"\x01"
_SHOWN = 300  # characters of what is no address, in an error


class AddressError(ValueError):
    """Not a valid address; the message says why."""


class Address(tuple[str, int]):
    """`host` (a name, IPv4, or IPv6 without brackets) and `port` (0 to 65535). Frozen, ordered, hashable.

    It is the tuple that `socket.connect` takes. Raises AddressError for an invalid host or port. An
    IPv6 host is kept in its shortest form (RFC 5952), so that equal addresses compare equal.
    """

    __slots__ = ()

    def __new__(cls, host: str, port: int) -> "Address":  # noqa: PYI034 - Self is of typing
        """Check host and port, and keep the host in its form."""
        if not 0 <= port <= _MAX_PORT:
            raise AddressError(f"{port} is not a port: it must be between 0 and {_MAX_PORT}")
        return super().__new__(cls, (_checked(host), port))

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[IPv6]:port`. Raises AddressError that says what is wrong."""
        host, colon, port = text.rpartition(":")
        shown = repr(text[:_SHOWN])
        if not colon or host.startswith("[") > host.endswith("]"):
            raise AddressError(f"{shown} has no port: write host:port")
        if not _PORT.fullmatch(port):
            raise AddressError(f"{shown} is not an address: {port[:_SHOWN]!r} is not a port")
        is_bracketed = host.startswith("[")
        if ":" in host and not is_bracketed:
            raise AddressError(f"{shown} is not an address: write an IPv6 host in brackets, [::1]:80")
        if is_bracketed and ":" not in host:
            raise AddressError(f"{shown} is not an address: only an IPv6 host is in brackets")
        return cls(host[1:-1] if is_bracketed else host, int(port))

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """Make one from a host as people and sockets write it: BLOG_HOST, `getsockname`, a peer.

        Brackets are optional, "" is every address (0.0.0.0), a zone (`%eth0`) means nothing on other
        machines and is dropped, an IPv4-mapped IPv6 address becomes IPv4. Raises AddressError.
        """
        host = bare(host) or "0.0.0.0"  # noqa: S104 - what an empty host has always meant
        packed = _packed(host)
        if packed.startswith(_MAPPED):
            host = socket.inet_ntop(socket.AF_INET, packed.removeprefix(_MAPPED))
        return cls(host, port)

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self[0]

    @property
    def port(self) -> int:
        """The port; 0 stands for any free one."""
        return self[1]

    @property
    def family(self) -> socket.AddressFamily:
        """The family of a socket for it; IPv4 for a name, which may have addresses of either."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def families(self) -> tuple[socket.AddressFamily, ...]:
        """The families by which others reach a port bound to it: `::` is both (`bound_port`)."""
        is_both = self.is_unspecified and self.family is socket.AF_INET6
        return (socket.AF_INET, socket.AF_INET6) if is_both else (self.family,)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it: 127.0.0.0/8, ::1 and the name `localhost`."""
        packed = _packed(self.host).removeprefix(_MAPPED)
        if not packed:
            return self.host.lower() == "localhost"
        if len(packed) == _IPV4_LENGTH:
            return packed[0] == _LOOPBACK_NET
        return packed == _LOOPBACK_IPV6

    @property
    def is_unspecified(self) -> bool:
        """Whether it stands for every address of this machine: 0.0.0.0 or ::."""
        packed = _packed(self.host).removeprefix(_MAPPED)
        return bool(packed) and not any(packed)

    @property
    def local(self) -> "Address":
        """Where this machine connects to it: the loopback address for an unspecified one, else itself.

        A port on `::` is one on 0.0.0.0 too (`bound_port`): that is what is left where IPv6 is off.
        """
        if not self.is_unspecified:
            return self
        return self.with_host("::1" if self.family is socket.AF_INET6 and has_ipv6() else "127.0.0.1")

    def with_host(self, host: str) -> "Address":
        """Return the same port of another host. Raises AddressError."""
        return type(self)(host, self.port)

    def with_port(self, port: int) -> "Address":
        """Return another port of the same host. Raises AddressError."""
        return type(self)(self.host, port)

    def url(self, path: str = "", scheme: str = "http") -> str:
        """Return the URL of `path` (which begins with a slash) there."""
        return f"{scheme}://{self}{path}"

    def __getnewargs__(self) -> tuple[str, int]:
        return self.host, self.port

    def __str__(self) -> str:
        """Return `host:port`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        """Show it as it is written."""
        return f"<Address {self}>"


def has_ipv6() -> bool:
    """Return whether this machine reaches itself by IPv6: where that is off, it has no `::1`."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bare(host: str) -> str:
    """Return a host without brackets around it and without the zone of an IPv6 address."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host.partition("%")[0] if ":" in host else host


def _checked(host: str) -> str:
    """Return the host as it is kept."""
    if not host:
        raise AddressError("an address needs a host")
    shown = repr(host[:_SHOWN])
    if "%" in host:
        raise AddressError(f"{shown} is not a host: a zone means nothing on other machines")
    if ":" not in host:
        if not _NAME.fullmatch(host):
            raise AddressError(f"{shown} is not a host")
        return host
    packed = _packed(host)
    if not packed:
        raise AddressError(f"{shown} is not an IPv6 address")
    return socket.inet_ntop(socket.AF_INET6, packed)


def _packed(host: str) -> bytes:
    """Return the bytes of an IP address, none of a name."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: a null byte, or what cannot be encoded
        return b""
