"""Trace: what names a request everywhere it goes (W3C Trace Context). Pure."""

import re
from binascii import hexlify
from collections.abc import Callable, Mapping
from typing import NamedTuple

from blog.core.web import REQUEST_ID_HEADER

REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACE = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-[^,]*)?"
)
_LINES = b"X-Request-Id: %b\r\ntraceparent: %b\r\n"


class TraceContext(NamedTuple):
    """A request's id and the trace that it is part of; both again as header lines for the upstream."""

    request_id: bytes
    traceparent: bytes
    lines: bytes


def trace_of(inspected: Mapping[bytes, bytes], random_bits: Callable[[int], int]) -> TraceContext:
    """Keep a well-formed request id and continue the trace, or start both (W3C Trace Context §3.2).

    A new request is named after its trace, so that both lead to the same lines in every log.
    `random_bits(n)` gives an integer of n random bits.
    """
    digits = hexlify(random_bits(192).to_bytes(24, "big"))
    trace_id, span = digits[:32], digits[32:]
    if not inspected:
        parent = b"00-%b-%b-01" % (trace_id, span)
        return TraceContext(trace_id, parent, _LINES % (trace_id, parent))
    match = _TRACE.fullmatch(inspected.get(TRACEPARENT, b""))
    state, flags = b"", b"01"
    if match is not None and not (match[1] == b"00" and match[4]):
        trace_id, flags = match[2], match[3]
        state = inspected.get(TRACESTATE, b"")
    parent = b"00-%b-%b-%b" % (trace_id, span, flags)
    own = inspected.get(REQUEST_ID, b"")
    request_id = own if _REQUEST_ID.fullmatch(own) else trace_id
    lines = _LINES % (request_id, parent)
    return TraceContext(request_id, parent, lines + b"tracestate: %b\r\n" % state if state else lines)
