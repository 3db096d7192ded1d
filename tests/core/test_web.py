"""What every aiohttp port of ours has in common: what no web page may do."""

import pytest

from blog.core.errors import Forbidden
from blog.core.web import must_be_operator


@pytest.mark.parametrize(
    "name",
    [
        "Origin",
        "origin",
        "Sec-Fetch-Site",
        "Sec-Fetch-Mode",
        "sec-fetch-dest",
        "X-Forwarded-For",
        "Forwarded",
    ],
)
def test_what_a_browser_or_a_gateway_sends_is_no_operators(name: str) -> None:
    """Whatever the header says, for instance `Origin: null`."""
    with pytest.raises(Forbidden, match=name):
        must_be_operator({"Authorization": "Bearer secret", name: "null"})


def test_the_command_line_is_let_in() -> None:
    """It sends none of them."""
    must_be_operator({"Authorization": "Bearer secret", "User-Agent": "curl", "Accept": "*/*"})
