"""Headers: what is forwarded to an upstream, and back to the client. Pure; bytes in, bytes out.

Hop-by-hop fields end here (RFC 9110 §7.6.1); what a client says about itself or about internal fields
is replaced by what the gateway knows. Every head is written anew, field by field.
"""

from blog.core.web import IDEMPOTENCY_HEADER, INSTANCE_HEADER
from blog.gateway.telemetry.trace import REQUEST_ID, TRACEPARENT, TRACESTATE
from blog.gateway.upstream.upstreams import SERVED_BY_HEADER
from blog.http.head_cache import VolatileFields
from blog.http.heads import RequestHead, ResponseHead
from blog.http.parsed_head import ParsedHead

IDEMPOTENCY_KEY = IDEMPOTENCY_HEADER.lower().encode()
_CORS = b"access-control-"
_UNKNOWN_LIMIT = 1024

# What is done with a field: it is forwarded, its value is inspected, both, or neither.
_DROP, _FORWARD, _INSPECT = 0, 1, 2

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


class _FieldRules(dict[bytes, int]):
    """What is done with each field, by its name in lower case; unknown ones are forwarded."""

    def __missing__(self, key: bytes) -> int:
        rule = _DROP if key.startswith(b"x-forwarded-") else _FORWARD
        if len(self) < _UNKNOWN_LIMIT:
            self[key] = rule
        return rule


# What the gateway itself sends is dropped; `Expect` was handled, lengths are framed anew.
_REQUEST_RULES = _FieldRules(
    {
        **dict.fromkeys(_HOP_BY_HOP, _DROP),
        **dict.fromkeys((b"content-length", b"forwarded", b"host", b"x-real-ip", _INSTANCE), _DROP),
        **dict.fromkeys((b"expect", b"te", b"upgrade", REQUEST_ID, TRACEPARENT, TRACESTATE), _INSPECT),
        **dict.fromkeys(
            (b"origin", IDEMPOTENCY_KEY, b"access-control-request-method"), _INSPECT | _FORWARD
        ),
    }
)
_RESPONSE_RULES = _FieldRules(
    {
        **dict.fromkeys(_HOP_BY_HOP, _DROP),
        **dict.fromkeys(
            (b"content-length", REQUEST_ID, _INSTANCE, SERVED_BY_HEADER.lower().encode()), _DROP
        ),
        b"content-type": _INSPECT | _FORWARD,
    }
)
# options of `Connection` that name no field which would be forwarded
_TRIVIAL = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})

_VOLATILE_DROPPED = (b"Content-Length", b"content-length", b"X-Request-Id", b"x-request-id")

Inspected = dict[bytes, bytes]
"""Values of fields by their name in lower case; several are joined by commas (RFC 9110 §5.3)."""


class FilteredHeaders:
    """A head's fields: the lines to forward, and what was inspected. Made once for equal heads."""

    __slots__ = ("inspected", "lines", "prefix")

    def __init__(self, lines: bytes, inspected: Inspected) -> None:
        self.lines = lines
        self.inspected = inspected
        self.prefix = b""
        """Of a response: what is sent before anything that differs from request to request."""

    def __repr__(self) -> str:
        """Show what was inspected."""
        return f"<FilteredHeaders: {len(self.lines)} bytes, inspected {self.inspected}>"


def filter_request(head: RequestHead) -> FilteredHeaders:
    """Return what of a request is forwarded; `forward_volatile` has the rest."""
    made = head.parsed.derived
    if isinstance(made, FilteredHeaders):
        return made
    head.parsed.derived = made = _filtered(head.parsed, _REQUEST_RULES)
    return made


def filter_response(head: ResponseHead, *, without_cors: bool = False) -> FilteredHeaders:
    """Return what of a response is forwarded; `forward_volatile` has the rest.

    `without_cors`: its CORS fields are not; those are the gateway's.
    """
    if without_cors:
        return _filtered(head.parsed, _RESPONSE_RULES, _CORS)
    made = head.parsed.derived
    if isinstance(made, FilteredHeaders):
        return made
    head.parsed.derived = made = _filtered(head.parsed, _RESPONSE_RULES)
    return made


def forward_volatile(volatile: VolatileFields) -> bytes:
    """Return the lines of the volatile fields that are forwarded."""
    made = volatile.derived
    if isinstance(made, bytes):
        return made
    lines = [b"%b: %b\r\n" % field for field in volatile.fields if field[0] not in _VOLATILE_DROPPED]
    volatile.derived = made = b"".join(lines)
    return made


def _filtered(parsed: ParsedHead, rules: _FieldRules, without: bytes | None = None) -> FilteredHeaders:
    fields, options = parsed.fields, parsed.options
    if without is not None:
        fields = [field for field in fields if not field[0].startswith(without)]
    if not options <= _TRIVIAL:
        fields = [field for field in fields if field[0] not in options]
    pieces: list[bytes] = []
    inspected: Inspected = {}
    for key, name, value in fields:
        rule = rules[key]
        if rule & _FORWARD:
            pieces += (name, b": ", value, b"\r\n")
        if rule & _INSPECT:
            inspected[key] = inspected[key] + b"," + value if key in inspected else value
    return FilteredHeaders(b"".join(pieces), inspected)


class ClientHeaders:
    """The client as the gateway sees it: its address, and by which scheme it connects.

    `is_trusted_proxy`: it is trusted to name the client that it forwards for.
    """

    __slots__ = ("_host", "_lines", "address", "is_trusted_proxy", "scheme")

    def __init__(self, address: str, scheme: str, *, is_trusted_proxy: bool = False) -> None:
        self.is_trusted_proxy = is_trusted_proxy
        self.address = address.encode()
        self.scheme = scheme
        self._host: bytes | None = None
        self._lines = b""

    def lines(self, host: bytes) -> bytes:
        """Return the forwarding fields for a request to `host`; most clients use one host only."""
        if host != self._host:
            self._host, self._lines = host, self._format(host)
        return self._lines

    def _format(self, host: bytes) -> bytes:
        address, scheme = self.address, self.scheme.encode()
        quoted = b'"[%b]"' % address if b":" in address else address
        return (
            b"Host: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
            b'Forwarded: for=%b;host="%b";proto=%b\r\n'
        ) % (host, address, scheme, host, quoted, host, scheme)
