"""Headers: what goes on to an instance, and what comes back to the client. Pure.

Hop-by-hop fields end here (RFC 9110 §7.6.1); what a client says about itself or about inner things
is replaced by what the gateway knows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aiohttp import hdrs
from multidict import CIMultiDict, MultiMapping

from blog.core.errors import HeadTooLarge, Malformed
from blog.core.web import INSTANCE_HEADER, REQUEST_ID_HEADER
from blog.http.limits import FIELD_LIMIT, HEAD_LIMIT

SERVED_BY_HEADER = "Blog-Served-By"
TRACEPARENT = "traceparent"
_TRACESTATE = "tracestate"
_LINE_OVERHEAD = len(": \r\n")

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What the gateway itself says; `Expect` it has answered, lengths it frames anew.
_REPLACED = frozenset(
    {
        "content-length",
        "expect",
        "forwarded",
        "host",
        "x-real-ip",
        INSTANCE_HEADER.lower(),
        REQUEST_ID_HEADER.lower(),
        TRACEPARENT,
        _TRACESTATE,
    }
)
_FORWARDED_PREFIX = "x-forwarded-"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACE = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class Client(NamedTuple):
    """Who asks, as the gateway sees it: address, scheme and the host that was asked for."""

    address: str
    scheme: str
    host: str


def check_head(target: str, fields: Sequence[tuple[bytes, bytes]], *, is_http_1_0: bool) -> None:
    """Refuse a head that is too large (431), or that two readers could read differently (400).

    The parser has already refused what is no HTTP/1.1 at all.
    """
    size = len(target) + sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in fields)
    if size > HEAD_LIMIT or len(fields) > FIELD_LIMIT:
        raise HeadTooLarge(
            f"Request line and headers: at most {HEAD_LIMIT} bytes in {FIELD_LIMIT} fields."
        )
    names = [name.lower() for name, _ in fields]
    if names.count(b"host") != 1 and not (is_http_1_0 and b"host" not in names):
        raise Malformed("A request names exactly one Host (RFC 9112 §3.2).")
    if is_http_1_0 and b"transfer-encoding" in names:
        raise Malformed("HTTP/1.0 has no Transfer-Encoding (RFC 9112 §6.1).")
    for name, value in fields:
        if name.lower() == b"host" and not _HOST.fullmatch(value.decode("latin-1").strip()):
            raise Malformed("The Host is none (RFC 9110 §7.2).")
        if not _is_text(value):
            raise Malformed(f"The header {name.decode('latin-1')} is no UTF-8.")


def request_id(given: str | None, make: Callable[[], str]) -> str:
    """Keep a well-formed request id, else make one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else make()


def traceparent(given: str | None, random_hex: Callable[[int], str]) -> tuple[str, bool]:
    """Continue the trace that the client is in, or start one (W3C Trace Context §3.2).

    `random_hex(n)` gives n random bytes as hexadecimal. Return the header and whether it continues.
    """
    match = _TRACE.fullmatch(given or "")
    if match is None or (match[1] == "00" and match[4]):
        return f"00-{random_hex(16)}-{random_hex(8)}-01", False
    return f"00-{match[2]}-{random_hex(8)}-{match[3]}", True


def to_instance(
    headers: MultiMapping[str], client: Client, replacements: Mapping[str, str], *, in_trace: bool
) -> CIMultiDict[str]:
    """Return what an instance gets: end-to-end fields, who asks, and `replacements`.

    `in_trace` tells that the client's `traceparent` was continued; only then is its `tracestate` kept.
    """
    kept = CIMultiDict(
        (name, value)
        for name, value in _end_to_end(headers)
        if name.lower() not in _REPLACED and not name.lower().startswith(_FORWARDED_PREFIX)
    )
    if in_trace:
        kept.extend((_TRACESTATE, value) for value in headers.getall(_TRACESTATE, []))
    quoted = f'"[{client.address}]"' if ":" in client.address else client.address
    kept[hdrs.HOST] = client.host
    kept["X-Forwarded-For"] = client.address
    kept["X-Forwarded-Proto"] = client.scheme
    kept["X-Forwarded-Host"] = client.host
    kept["Forwarded"] = f'for={quoted};host="{client.host}";proto={client.scheme}'
    kept.update(replacements)
    return kept


def to_client(headers: MultiMapping[str], additions: Mapping[str, str]) -> CIMultiDict[str]:
    """Return what the client gets: the instance's end-to-end fields, and `additions` of the gateway."""
    inner = (SERVED_BY_HEADER.lower(), INSTANCE_HEADER.lower())
    kept = CIMultiDict((name, value) for name, value in _end_to_end(headers) if name.lower() not in inner)
    kept.update(additions)
    return kept


def _end_to_end(headers: MultiMapping[str]) -> list[tuple[str, str]]:
    named = {
        option.strip().lower()
        for value in headers.getall(hdrs.CONNECTION, [])
        for option in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return [(name, value) for name, value in headers.items() if name.lower() not in dropped]


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
