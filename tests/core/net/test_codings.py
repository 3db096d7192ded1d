"""No content coding is ever opened: which values of `Content-Encoding` name one."""

import pytest

from blog.core.errors import Malformed, UnsupportedMedia, status_of
from blog.core.net.codings import coding_of, must_be_chunked, must_be_plain


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["identity"],
        ["IDENTITY"],
        [" identity\t"],
        ["identity, identity"],
        ["identity", ""],
        [","],
    ],
)
def test_a_body_as_it_is_has_no_coding(values: list[str]) -> None:
    """Nothing named, or `identity`, however it is spelt and however often."""
    assert coding_of(values) is None
    must_be_plain(values)


@pytest.mark.parametrize(
    "values",
    [
        ["gzip"],
        ["GZip"],
        ["x-gzip"],
        ["deflate"],
        ["br"],
        ["zstd"],
        ["compress"],
        ["gzip, gzip"],
        ["identity, gzip"],
        ["gzip,identity"],
        ["identity", "gzip"],
        ["gzip;q=1"],
        ["aes128gcm"],
        ["identity;q=0"],
        ["*"],
        ["ıdentity"],
        ["\udcff"],
        ["x" * 100_000],
    ],
)
def test_any_other_coding_is_415(values: list[str]) -> None:
    """Known or not, alone, in a list or in a second field; the answer says what to send instead."""
    with pytest.raises(UnsupportedMedia) as caught:
        must_be_plain(values)
    assert status_of(caught.value) == 415
    assert caught.value.headers == {"Accept-Encoding": "identity"}
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    "values", [["gzip, chunked"], ["gzip"], ["identity"], ["chunked", "chunked"], [""]]
)
def test_the_only_transfer_coding_is_chunked(values: list[str]) -> None:
    """What else stands there would be read by nobody, and taken for the body."""
    must_be_chunked([])
    must_be_chunked([" Chunked"])
    with pytest.raises(Malformed):
        must_be_chunked(values)
