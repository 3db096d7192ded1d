"""Which request id and trace a request has."""

import pytest

from blog.gateway.telemetry.trace import trace_of

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"b7ad6b7169203331"


def bits(count: int) -> int:
    """Return what makes 128 the trace and 64 the span."""
    assert count == 192
    return 128 << 64 | 64


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2", True), ("", False), ("a b", False), ("x" * 129, False)]
)
def test_a_request_id_is_kept_if_well_formed(given: str, kept: bool) -> None:  # noqa: FBT001 - a table
    """Else it is that of the trace."""
    trace = trace_of({b"x-request-id": given.encode()}, bits)
    assert trace.request_id == (given.encode() if kept else b"%032x" % 128)


STARTED = b"00-%032x-%016x-01" % (128, 64)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"00-%b-%b-01" % (TRACE, PARENT), b"00-%b-%016x-01" % (TRACE, 64)),
        (b"00-%b-%b-00" % (TRACE, PARENT), b"00-%b-%016x-00" % (TRACE, 64)),
        (b"01-%b-%b-01-more" % (TRACE, PARENT), b"00-%b-%016x-01" % (TRACE, 64)),
        (b"00-%b-%b-01-more" % (TRACE, PARENT), STARTED),
        (b"ff-%b-%b-01" % (TRACE, PARENT), STARTED),
        (b"00-%b-%b-01" % (b"0" * 32, PARENT), STARTED),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16), STARTED),
        (b"nonsense", STARTED),
    ],
)
def test_a_trace_is_continued_or_started(given: bytes, expected: bytes) -> None:
    """W3C Trace Context; of two traceparents none counts."""
    assert trace_of({b"traceparent": given}, bits).traceparent == expected
    assert trace_of({b"traceparent": given + b"," + given}, bits).traceparent == STARTED
    assert trace_of({}, bits).traceparent == STARTED


def test_tracestate_goes_with_its_trace() -> None:
    """Without a trace to continue it means nothing."""
    inspected = {b"traceparent": b"00-%b-%b-01" % (TRACE, PARENT), b"tracestate": b"a=1,b=2"}
    lines = trace_of(inspected, bits).lines
    assert lines.endswith(b"tracestate: a=1,b=2\r\n")
    assert b"tracestate" not in trace_of({b"tracestate": b"a=1"}, bits).lines
