"""Where a body ends."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blog.core.errors import Malformed
from blog.http.framing import BodyReader, ChunkedBody, LengthBody, NoBody, UntilClose, chunk, last_chunk


def read(body: BodyReader, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed `data` in pieces cut at `cuts`; return the body and what was left."""
    limiter = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    got, rest = b"", b""
    for start, end in pairwise(limiter):
        if body.is_complete:
            rest += data[start:end]
            continue
        piece, left = body.feed(data[start:end])
        got += piece
        rest += left
    return got, rest


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=20)


@settings(max_examples=200)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=200), max_size=8),
    rest=st.binary(max_size=50),
    cuts=CUTS,
)
def test_what_is_written_in_chunks_is_read_however_it_is_cut(
    pieces: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    """With trailers, and whatever follows."""
    data = b"".join(map(chunk, pieces)) + last_chunk([(b"X", b"y")]) + rest
    body = ChunkedBody()
    assert read(body, data, cuts) == (b"".join(pieces), rest)
    assert body.is_complete
    assert body.trailers == [(b"X", b"y")]


@settings(max_examples=100)
@given(data=st.binary(max_size=300), rest=st.binary(max_size=50), cuts=CUTS)
def test_a_length_is_counted_however_it_is_cut(data: bytes, rest: bytes, cuts: list[int]) -> None:
    """And not a byte more."""
    body = LengthBody(len(data))
    assert read(body, data + rest, cuts) == (data, rest)
    assert body.is_complete


def test_nothing_and_everything() -> None:
    """No body leaves all; one until the close takes all."""
    assert NoBody().feed(b"x") == (b"", b"x")
    assert UntilClose().feed(b"x") == (b"x", b"")


@pytest.mark.parametrize(
    "data",
    [b"g\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1 \r\n", b"1\n", b"1\r\nxx\r\n", b"1\r\nx\n",
     b"1;\r\n", b"1;a=\r\n", b"f" * 16 + b"\r\n", b"0" * 300, b"0\r\nX\r\n", b"0\r\nX: \x00\r\n",
     b"0\r\n X: y\r\n", b"0\r\n" + b"X: y\r\n" * 3000],
)  # fmt: skip
def test_chunks_that_are_none(data: bytes) -> None:
    """In one piece, and byte by byte."""
    with pytest.raises(Malformed):
        ChunkedBody().feed(data)
    with pytest.raises(Malformed):
        read(ChunkedBody(), data, list(range(len(data))))
