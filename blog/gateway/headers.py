"""Headers on their way through: hop-by-hop out, forwarding in. Pure."""

import re
import secrets
from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

from blog.core.ids import new_id
from blog.core.web import INSTANCE_HEADER, REQUEST_ID_HEADER

TRACE_HEADER = "traceparent"
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
"""RFC 9110 §7.6.1: they concern one connection."""

_FORWARDING = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-real-ip",
        INSTANCE_HEADER.lower(),
    }
)
"""What a client may not say of itself."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}", re.ASCII)
_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


def end_to_end(headers: Headers, also: Iterable[str] = ()) -> CIMultiDict[str]:
    """Return `headers` without those of the connection, the ones that `Connection` names included."""
    named = {
        name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")
    }
    dropped = _HOP_BY_HOP | named | set(also)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def towards_instance(headers: Headers, *, client: str, host: str, scheme: str) -> CIMultiDict[str]:
    """Return what an instance gets: who asked is what we saw, not what the client says.

    `Forwarded` is RFC 7239. Request id and trace (W3C) are kept if well-formed, else made.
    """
    sent = end_to_end(headers, _FORWARDING)
    sent["X-Forwarded-For"] = client
    sent["X-Forwarded-Proto"] = scheme
    sent["X-Forwarded-Host"] = host
    node = f'"[{client}]"' if ":" in client else client
    sent["Forwarded"] = f'for={node};host="{host}";proto={scheme}'
    sent[REQUEST_ID_HEADER] = request_id(headers.get(REQUEST_ID_HEADER))
    sent[TRACE_HEADER] = trace(headers.get(TRACE_HEADER))
    return sent


def request_id(given: str | None) -> str:
    """Keep a well-formed request id, else make one."""
    return given if given and _REQUEST_ID.fullmatch(given) else new_id()


def trace(given: str | None) -> str:
    """Continue a W3C trace with a span of our own, or start one (traceparent, version 00)."""
    span = secrets.token_hex(8)
    if given and _TRACE.fullmatch(given):
        version, trace_id, _, flags = given.split("-")
        return f"{version}-{trace_id}-{span}-{flags}"
    return f"00-{secrets.token_hex(16)}-{span}-00"
