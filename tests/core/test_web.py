"""What every aiohttp port of ours has in common: where a request comes from."""

import pytest
from aiohttp.test_utils import make_mocked_request

from blog.core.web import peer_of


@pytest.mark.parametrize(
    ("remote", "expected"),
    [("10.0.0.5", "10.0.0.5"), ("::ffff:10.0.0.5", "10.0.0.5"), ("fe80::5%eth0", "fe80::5"), (None, "")],
)
def test_where_somebody_comes_from(remote: str | None, expected: str) -> None:
    """As an address that can be compared."""
    request = make_mocked_request("GET", "/").clone(remote=remote or "")
    assert peer_of(request) == expected
