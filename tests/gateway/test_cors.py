"""Who may read answers across sites."""

import pytest
from multidict import CIMultiDict

from blog.gateway.cors import allowed_origin, is_preflight, preflight, share

SITE = "https://site.example"


@pytest.mark.parametrize(
    ("origin", "origins", "expected"),
    [
        (None, ("*",), None),
        (SITE, (), None),
        (SITE, (SITE,), SITE),
        (SITE, ("https://other.example",), None),
        (SITE, ("*",), "*"),
        ("null", (SITE,), None),
    ],
)
def test_only_named_origins(origin: str | None, origins: tuple[str, ...], expected: str | None) -> None:
    """Or any, with *."""
    assert allowed_origin(origin, origins) == expected


def test_a_preflight_is_an_options_that_asks() -> None:
    """A plain OPTIONS is a request like others."""
    asks = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    assert is_preflight("OPTIONS", asks)
    assert not is_preflight("POST", asks)
    assert not is_preflight("OPTIONS", {"Origin": SITE})


def test_the_answer_to_a_preflight() -> None:
    """The methods of the path, and the headers that were asked for."""
    answer = preflight({"Access-Control-Request-Headers": "content-type"}, SITE, {"POST", "GET"})
    assert answer["Access-Control-Allow-Origin"] == SITE
    assert answer["Access-Control-Allow-Methods"] == "GET, POST"
    assert answer["Access-Control-Allow-Headers"] == "content-type"


def test_the_gateway_alone_decides() -> None:
    """What an instance says about sharing is dropped; caches keep origins apart."""
    headers = CIMultiDict([("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")])
    share(headers, None)
    assert headers.getall("Vary") == ["Accept", "Origin"]
    assert "Access-Control-Allow-Origin" not in headers
    share(headers, SITE)
    assert headers["Access-Control-Allow-Origin"] == SITE
