"""Who may read answers across sites."""

import pytest

from blog.gateway.edge.cors import allowed_origin, is_preflight, preflight, response_lines

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
    assert allowed_origin(origin.encode() if origin else None, origins) == expected


def test_a_preflight_is_an_options_that_asks() -> None:
    """A plain OPTIONS is a request like others."""
    asks = {b"origin": SITE.encode(), b"access-control-request-method": b"POST"}
    assert is_preflight(b"OPTIONS", asks)
    assert not is_preflight(b"POST", asks)
    assert not is_preflight(b"OPTIONS", {b"origin": SITE.encode()})


def test_the_answer_to_a_preflight() -> None:
    """The methods of the path, and the headers that were asked for."""
    answer = preflight(b"content-type", SITE, {"POST", "GET"})
    assert answer["Access-Control-Allow-Origin"] == SITE
    assert answer["Access-Control-Allow-Methods"] == "GET, POST"
    assert answer["Access-Control-Allow-Headers"] == "content-type"


def test_caches_keep_origins_apart() -> None:
    """Whoever asks; only a named origin may read."""
    assert response_lines(None) == b"Vary: Origin\r\n"
    assert response_lines(SITE).startswith(f"Access-Control-Allow-Origin: {SITE}\r\n".encode())
    assert response_lines(SITE).endswith(b"Vary: Origin\r\n")
