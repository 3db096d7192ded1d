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
    ],
)
def test_a_bad_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It names the variable, what it holds and what is wrong."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert caught.value.detail.startswith(f"{name}=")
    assert "\n" not in caught.value.detail


def test_an_unknown_variable_gets_the_nearest_name() -> None:
    """A typing error is not silently nothing."""
    environ = {"BLOG_PUBLIC_PROT": "1", "BLOG_HOST": "x", "HOME": "/"}
    assert list(unknown_variables(environ, [Settings])) == [("BLOG_PUBLIC_PROT", "BLOG_PUBLIC_PORT")]


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """`blog settings` is copied into bug reports."""
    monkeypatch.setenv("BLOG_TOKEN", "hush")
    assert "hush" not in str(list(describe(load(Settings))))


def test_every_setting_says_what_it_means() -> None:
    """No line of `blog settings` is empty."""
    assert all(line.meaning for line in describe(load(Settings)))
