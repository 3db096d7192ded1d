"""What is remembered of a request's body."""

import pytest

from blog.core.errors import TooLarge
from blog.gateway.proxy.body import NO_BODY, RequestBody
from blog.http.heads import RequestHead, parse_request
from blog.http.limits import BODY_LIMIT, REPLAY_LIMIT


def head(length: int | None) -> RequestHead:
    """Make the head of a request with a body, chunked where its length is None."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return parse_request(f"POST / HTTP/1.1\r\nHost: blog\r\n{framing}\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("length", "retryable", "is_buffering"),
    [
        (1, False, True),
        (REPLAY_LIMIT, False, True),
        (REPLAY_LIMIT + 1, True, False),
        (None, True, True),
        (None, False, False),
    ],
)
def test_small_ones_are_waited_for(length: int | None, retryable: bool, is_buffering: bool) -> None:  # noqa: FBT001 - a table
    """And those of unknown size, where they may be sent twice."""
    assert RequestBody(head(length), BODY_LIMIT, is_retryable=retryable).is_buffering is is_buffering


def test_a_whole_one_can_be_sent_again_and_again() -> None:
    """With its length, however it came."""
    body = RequestBody(head(None), BODY_LIMIT, is_retryable=True)
    body.add(b"hel", is_streaming=False)
    body.add(b"lo", is_streaming=False)
    body.end()
    assert [body.start(), body.start()] == [(b"Content-Length: 5\r\n", b"hello")] * 2


def test_a_large_one_flows_and_is_forgotten() -> None:
    """What was sent on is not kept; before that it is."""
    body = RequestBody(head(REPLAY_LIMIT * 2), BODY_LIMIT, is_retryable=True)
    assert body.start() == (b"Content-Length: %d\r\n" % (REPLAY_LIMIT * 2), b"")
    assert body.add(b"x" * REPLAY_LIMIT, is_streaming=True) == b"x" * REPLAY_LIMIT
    assert body.is_replayable
    body.add(b"x", is_streaming=True)
    assert not body.is_replayable


def test_one_of_unknown_size_flows_in_chunks() -> None:
    """Each piece as it comes, and an end."""
    body = RequestBody(head(None), BODY_LIMIT, is_retryable=False)
    body.add(b"hel", is_streaming=False)
    assert body.start() == (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n")
    assert body.add(b"lo", is_streaming=True) == b"2\r\nlo\r\n"
    assert body.end() == b"0\r\n\r\n"


def test_too_much_is_refused() -> None:
    """By what it says, or by what it is."""
    with pytest.raises(TooLarge):
        RequestBody(head(11), 10, is_retryable=False)
    body = RequestBody(head(None), 10, is_retryable=False)
    body.add(b"x" * 10, is_streaming=True)
    with pytest.raises(TooLarge):
        body.add(b"x", is_streaming=True)


def test_none_is_whole() -> None:
    """And sent as nothing."""
    assert NO_BODY.is_complete
    assert NO_BODY.start() == (b"", b"")
