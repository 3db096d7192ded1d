"""Settings come from BLOG_ variables; a bad one is one clear line, an unknown one has a neighbour."""

import pytest

from blog.core.errors import SettingsError
from blog.core.settings import Settings, describe, load, unknown_variables


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several registries are one variable."""
    monkeypatch.setenv("BLOG_REGISTRY", "http://a:1, http://b:2")
    assert load(Settings).registry == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BLOG_PUBLIC_PORT", "eighty"),
        ("BLOG_PORT", "70000"),
        ("BLOG_REGISTRY", "gateway:4000"),
        ("BLOG_ADVERTISE", "nowhere"),
        ("BLOG_LOG_LEVEL", "loud"),
        ("BLOG_HOST", "[]"),
        ("BLOG_HOST", "a b"),
        ("BLOG_HOST", "::g"),
        ("BLOG_WRITE_RATE", "-1"),
        ("BLOG_WRITE_RATE", "many"),
        ("BLOG_WRITE_RATE", "nan"),
        ("BLOG_WRITE_RATE", "inf"),
        ("BLOG_WRITE_RATE", "1e-9"),
        ("BLOG_WRITE_RATE", "1e9"),
        ("BLOG_WRITE_BURST", "0"),
        ("BLOG_WRITE_BURST", "1.5"),
        ("BLOG_TRUSTED_PROXIES", "10.0.0.0/99"),
    ],
)
def test_a_bad_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It names the variable, what it holds and what is wrong."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert caught.value.detail.startswith(f"{name}=")
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("[::1]", "::1"),
        ("::", "::"),
        ("0.0.0.0", "0.0.0.0"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("my-host", "my-host"),
    ],
)
def test_a_host_is_read_with_and_without_brackets(
    monkeypatch: pytest.MonkeyPatch, written: str, host: str
) -> None:
    """IPv6 in brackets is how it stands in an address."""
    monkeypatch.setenv("BLOG_HOST", written)
    assert load(Settings).host == host


def test_an_unknown_variable_gets_the_nearest_name() -> None:
    """A typing error is not silently nothing."""
    environ = {"BLOG_PUBLIC_PROT": "1", "BLOG_HOST": "x", "HOME": "/"}
    assert list(unknown_variables(environ, [Settings])) == [("BLOG_PUBLIC_PROT", "BLOG_PUBLIC_PORT")]


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """`blog settings` is copied into bug reports."""
    monkeypatch.setenv("BLOG_TOKEN", "hush" * 4)
    assert "hush" not in str(list(describe(load(Settings))))


def test_every_setting_says_what_it_means() -> None:
    """No line of `blog settings` is empty."""
    assert all(line.meaning for line in describe(load(Settings)))


def test_writes_are_limited_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten a second, forty at once; 0 turns it off, and nobody is trusted about addresses."""
    monkeypatch.delenv("BLOG_WRITE_RATE", raising=False)
    monkeypatch.delenv("BLOG_WRITE_BURST", raising=False)
    settings = load(Settings)
    assert (settings.write_rate, settings.write_burst, settings.trusted_proxies) == (10, 40, ())
    monkeypatch.setenv("BLOG_WRITE_RATE", "0")
    assert load(Settings).write_rate == 0
