"""Settings come from BLOG_ variables; a bad one is one clear line, an unknown one has a neighbour."""

from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.core.settings import Settings, describe, environ_of, load, unknown_variables


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


TOKEN = "token-of-a-test-blog"


@pytest.mark.parametrize("name", ["BLOG_TOKEN", "BLOG_TOKEN_FILE", "blog_token", "Blog_Token_File"])
@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_token_is_a_mistake_and_never_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """`-e BLOG_TOKEN=$TYPO` would open everything; other variables may be empty."""
    monkeypatch.setenv("BLOG_ADVERTISE", "")
    assert load(Settings).tokens == ()
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name.upper()} is empty"):
        load(Settings)


@pytest.mark.parametrize("value", ["hush", "a" * 15, f"{TOKEN},", f"{TOKEN},hush", "hush " * 9])
def test_a_token_that_is_none_is_an_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """One line that names the variable; it may be copied into a bug report."""
    monkeypatch.setenv("BLOG_TOKEN", value)
    with pytest.raises(SettingsError, match=r"BLOG_TOKEN=\*\*\*: ") as caught:
        load(Settings)
    assert not {"hush", TOKEN} & set(caught.value.detail.split())


def test_of_several_tokens_the_first_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are accepted."""
    monkeypatch.setenv("BLOG_TOKEN", f"new-{TOKEN}, {TOKEN}")
    settings = load(Settings)
    assert (settings.secret, settings.tokens) == (f"new-{TOKEN}", (f"new-{TOKEN}", TOKEN))


def test_a_token_file_is_read_once_and_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a process was started with counts for its children too, whatever the file holds by then."""
    path = tmp_path / "token"
    path.write_text(f"new-{TOKEN},{TOKEN}\n")
    monkeypatch.setenv("BLOG_TOKEN_FILE", str(path))
    settings = load(Settings)
    assert settings.tokens == (f"new-{TOKEN}", TOKEN)
    environ = environ_of(settings, {"BLOG_TOKEN_FILE": "x", "blog_token": "y", "HOME": "/"})
    assert environ["BLOG_TOKEN"] == f"new-{TOKEN},{TOKEN}"
    assert not {"BLOG_TOKEN_FILE", "blog_token"} & environ.keys()
    assert environ["HOME"] == "/"
    path.write_text("\n")
    with pytest.raises(SettingsError, match=f"BLOG_TOKEN_FILE={path}: it is empty"):
        load(Settings)


def test_a_token_and_a_file_are_one_too_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which one counts would be a guess."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    monkeypatch.setenv("BLOG_TOKEN_FILE", str(path))
    monkeypatch.setenv("BLOG_TOKEN", TOKEN)
    with pytest.raises(SettingsError, match="both set"):
        load(Settings)


def test_without_a_token_none_is_passed_on() -> None:
    """An empty one would be an error there."""
    assert "BLOG_TOKEN" not in environ_of(load(Settings), {})
