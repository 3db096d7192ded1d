"""Headers: what goes on to an instance, and what comes back to the client. Pure; bytes in, bytes out.

Hop-by-hop fields end here (RFC 9110 §7.6.1); what a client says about itself or about inner things
is replaced by what the gateway knows. Every head is written anew, field by field.
"""

import re
from binascii import hexlify
from collections.abc import Callable
from typing import NamedTuple

from blog.core.web import IDEMPOTENCY_HEADER, INSTANCE_HEADER, REQUEST_ID_HEADER
from blog.http.head_cache import VolatileFields
from blog.http.heads import RequestHead, ResponseHead
from blog.http.parsed_head import ParsedHead

SERVED_BY_HEADER = "Blog-Served-By"
TRACEPARENT = "traceparent"
REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
IDEMPOTENCY_KEY = IDEMPOTENCY_HEADER.lower().encode()
_TRACESTATE = b"tracestate"
_CORS = b"access-control-"
_UNKNOWN_LIMIT = 1024

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACE = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-[^,]*)?"
)


# What becomes of a field: it is passed on, its value is noted, both, or neither.
_DROPPED, _PASSED, _NOTED = 0, 1, 2

_HOP_BY_HOP = (
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
_INSTANCE = INSTANCE_HEADER.lower().encode()


class _Fates(dict[bytes, int]):
    """The fate of each field by its name in lower case; names that are in no table are passed on."""

    def __missing__(self, key: bytes) -> int:
        fate = _DROPPED if key.startswith(b"x-forwarded-") else _PASSED
        if len(self) < _UNKNOWN_LIMIT:
            self[key] = fate
        return fate


# What the gateway itself says is dropped; `Expect` it has answered, lengths it frames anew.
_OF_REQUESTS = _Fates(
    {
        **dict.fromkeys(_HOP_BY_HOP, _DROPPED),
        **dict.fromkeys((b"content-length", b"forwarded", b"host", b"x-real-ip", _INSTANCE), _DROPPED),
        **dict.fromkeys(
            (b"expect", b"te", b"upgrade", REQUEST_ID, TRACEPARENT.encode(), _TRACESTATE), _NOTED
        ),
        **dict.fromkeys((b"origin", IDEMPOTENCY_KEY, b"access-control-request-method"), _NOTED | _PASSED),
    }
)
_OF_ANSWERS = _Fates(
    {
        **dict.fromkeys(_HOP_BY_HOP, _DROPPED),
        **dict.fromkeys(
            (b"content-length", REQUEST_ID, _INSTANCE, SERVED_BY_HEADER.lower().encode()), _DROPPED
        ),
        b"content-type": _NOTED | _PASSED,
    }
)
_TRACE_LINES = b"X-Request-Id: %b\r\ntraceparent: %b\r\n"
# options of `Connection` that name no field which would be passed on
_TRIVIAL = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})

_LOOSE_DROPPED = (b"Content-Length", b"content-length", b"X-Request-Id", b"x-request-id")

Noted = dict[bytes, bytes]
"""Values of fields by their name in lower case; several are joined by commas (RFC 9110 §5.3)."""


class SortedHeaders:
    """A head's fields: the lines that go on, and what was noted. Made once for equal heads."""

    __slots__ = ("lines", "noted", "opening")

    def __init__(self, lines: bytes, noted: Noted) -> None:
        self.lines = lines
        self.noted = noted
        self.opening = b""
        """Of an answer: what is sent before anything that differs from request to request."""

    def __repr__(self) -> str:
        """Show what was noted."""
        return f"<SortedHeaders: {len(self.lines)} bytes, noted {self.noted}>"


def sort_request(head: RequestHead) -> SortedHeaders:
    """Return what of a request goes on to an instance; `passed` adds what is loose."""
    known = head.block.derived
    if isinstance(known, SortedHeaders):
        return known
    head.block.derived = made = _sorted(head.block, _OF_REQUESTS)
    return made


def sort_answer(head: ResponseHead, *, without_cors: bool = False) -> SortedHeaders:
    """Return what of an answer goes on to the client; `passed` adds what is loose.

    `without_cors`: what it says about sharing across sites does not; that is the gateway's to say.
    """
    if without_cors:
        return _sorted(head.block, _OF_ANSWERS, _CORS)
    known = head.block.derived
    if isinstance(known, SortedHeaders):
        return known
    head.block.derived = made = _sorted(head.block, _OF_ANSWERS)
    return made


def passed_loose(loose: VolatileFields) -> bytes:
    """Return the lines of the loose fields that go on: those nobody here has a use for."""
    known = loose.derived
    if isinstance(known, bytes):
        return known
    lines = [b"%b: %b\r\n" % field for field in loose.fields if field[0] not in _LOOSE_DROPPED]
    loose.derived = made = b"".join(lines)
    return made


def _sorted(block: ParsedHead, fates: _Fates, without: bytes | None = None) -> SortedHeaders:
    fields, options = block.fields, block.options
    if without is not None:
        fields = [field for field in fields if not field[0].startswith(without)]
    if not options <= _TRIVIAL:
        fields = [field for field in fields if field[0] not in options]
    pieces: list[bytes] = []
    noted: Noted = {}
    for key, name, value in fields:
        fate = fates[key]
        if fate & _PASSED:
            pieces += (name, b": ", value, b"\r\n")
        if fate & _NOTED:
            noted[key] = noted[key] + b"," + value if key in noted else value
    return SortedHeaders(b"".join(pieces), noted)


class ClientHeaders:
    """Who asks, as the gateway sees it: an address (`spelt` in bytes), and by which scheme.

    `is_proxy`: it is trusted to say whom it asks for.
    """

    __slots__ = ("_host", "_lines", "is_proxy", "scheme", "spelt")

    def __init__(self, address: str, scheme: str, *, is_proxy: bool = False) -> None:
        self.is_proxy = is_proxy
        self.spelt = address.encode()
        self.scheme = scheme
        self._host: bytes | None = None
        self._lines = b""

    def lines(self, host: bytes) -> bytes:
        """Return the forwarding fields for a request to `host`; most clients ask one host only."""
        if host != self._host:
            self._host, self._lines = host, self._say(host)
        return self._lines

    def _say(self, host: bytes) -> bytes:
        address, scheme = self.spelt, self.scheme.encode()
        quoted = b'"[%b]"' % address if b":" in address else address
        return (
            b"Host: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
            b'Forwarded: for=%b;host="%b";proto=%b\r\n'
        ) % (host, address, scheme, host, quoted, host, scheme)


class TraceContext(NamedTuple):
    """What names a request everywhere it goes: its id, and the trace it is in, as lines to pass on."""

    request_id: bytes
    traceparent: bytes
    lines: bytes


def trace_of(noted: Noted, random_bits: Callable[[int], int]) -> TraceContext:
    """Keep a well-formed request id and continue the trace, or start both (W3C Trace Context §3.2).

    A new request is named after its trace, so that both lead to the same lines in every log.
    `random_bits(n)` gives an integer of n random bits.
    """
    digits = hexlify(random_bits(192).to_bytes(24, "big"))
    trace_id, span = digits[:32], digits[32:]
    if not noted:
        parent = b"00-%b-%b-01" % (trace_id, span)
        return TraceContext(trace_id, parent, _TRACE_LINES % (trace_id, parent))
    match = _TRACE.fullmatch(noted.get(b"traceparent", b""))
    state, flags = b"", b"01"
    if match is not None and not (match[1] == b"00" and match[4]):
        trace_id, flags = match[2], match[3]
        state = noted.get(_TRACESTATE, b"")
    parent = b"00-%b-%b-%b" % (trace_id, span, flags)
    own = noted.get(REQUEST_ID, b"")
    request_id = own if _REQUEST_ID.fullmatch(own) else trace_id
    lines = _TRACE_LINES % (request_id, parent)
    return TraceContext(request_id, parent, lines + b"tracestate: %b\r\n" % state if state else lines)
