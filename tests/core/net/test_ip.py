"""One address has one form, however it is written."""

from ipaddress import ip_address

import pytest

from blog.core.net.ip import ip_of, parse_ip, plain_ip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("::FFFF:10.0.0.5", "10.0.0.5"),
        ("::ffff:a00:5", "10.0.0.5"),
        ("fe80::5%eth0", "fe80::5"),
        ("::ffff:10.0.0.5%eth0", "10.0.0.5"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::1", "::1"),
    ],
)
def test_what_is_an_address_is_read(text: str, expected: str) -> None:
    """Without a zone; IPv4 within IPv6 is IPv4."""
    assert parse_ip(text) == ip_of(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text", ["", "posts", "127.1", "0x7f.0.0.1", "[::1]", "10.0.0.5:80", "1.2.3.4.5"]
)
def test_what_is_none_is_none(text: str) -> None:
    """Names, and the old ways to write IPv4, mean what a resolver says."""
    assert ip_of(text) is None
    with pytest.raises(ValueError, match="address"):
        parse_ip(text)


@pytest.mark.parametrize(
    "shown", ["10.0.0.5", "::ffff:10.0.0.5", "fe80::5%eth0", "2001:db8::ffff:1", "::1"]
)
def test_the_text_of_a_socket_is_of_the_same_form(shown: str) -> None:
    """It is not read for that: every request has one."""
    assert plain_ip(shown) == str(parse_ip(shown))
