"""The ports that a blog listens at, and the token of its admin APIs."""

import socket
from pathlib import Path
from typing import ClassVar, Self

import pytest
from pydantic import SecretStr

from blog.core.errors import SettingsError
from blog.core.net.address import Address
from blog.core.settings import Settings
from blog.master import ports
from blog.master.ports import known_token, known_tokens, with_ports, with_token

TOKEN = "token-of-a-test-blog"


class Held:
    """A port of a machine that hands out the lowest free one, also one just given back."""

    held: ClassVar[set[int]] = set()

    def __init__(self, host: str, port: int) -> None:
        self.address = Address(host, port or min(set(range(1024, 1100)) - self.held))

    def __enter__(self) -> Self:
        self.held.add(self.address.port)
        return self

    def __exit__(self, *_: object) -> None:
        self.held.discard(self.address.port)


def test_two_free_ports_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is held until the second is found."""
    monkeypatch.setattr(ports, "bind", Held)
    found = with_ports(Settings(public_port=0, admin_port=0))
    assert (found.public_port, found.admin_port) == (1024, 1025)
    assert not Held.held


def test_free_ports_can_be_listened_at() -> None:
    """By others, from now on."""
    found = with_ports(Settings(public_port=0, admin_port=0))
    for port in (found.public_port, found.admin_port):
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


def test_one_port_for_both_is_an_error() -> None:
    """Whoever came second would crash."""
    free = with_ports(Settings(public_port=0, admin_port=0)).public_port
    with pytest.raises(SettingsError, match=f"BLOG_ADMIN_PORT={free}: cannot listen"):
        with_ports(Settings(public_port=free, admin_port=free))


@pytest.mark.parametrize("host", ["::1", "[::1]", "::", "localhost", "0.0.0.0", "127.0.0.2"])
def test_every_way_to_write_a_host_of_this_machine(host: str) -> None:
    """Names, IPv4, and IPv6 with and without brackets."""
    found = with_ports(Settings(host=host, public_port=0, admin_port=0))
    assert len({0, found.public_port, found.admin_port}) == 3


@pytest.mark.parametrize(
    ("host", "taken"),
    [("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1"), ("::", "0.0.0.0")],
)
def test_a_port_that_is_taken_says_which(host: str, taken: str) -> None:
    """In either family, and where both are meant, in one of them."""
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((taken, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"BLOG_PUBLIC_PORT={port}: .*in use; .* BLOG_PUBLIC_PORT"
        ):
            with_ports(Settings(host=host, public_port=port, admin_port=0))


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("no-such-host.invalid", "[Nn]ame"),
        ("192.0.2.1", "[Cc]annot assign"),
        ("2001:db8::1", "[Cc]annot assign"),
    ],
)
def test_a_host_that_is_not_of_this_machine_says_why(host: str, why: str) -> None:
    """And that it is BLOG_HOST which is to be changed."""
    with pytest.raises(SettingsError, match=f"{why}.*") as caught:
        with_ports(Settings(host=host, public_port=0, admin_port=0))
    assert "BLOG_HOST" in caught.value.detail
    assert "Unknown error" not in caught.value.detail


def test_a_blog_without_a_token_makes_one_and_keeps_it(tmp_path: Path) -> None:
    """For itself and the command line, and for nobody else on the machine."""
    path = tmp_path / "run" / "token"
    path.parent.mkdir()
    made = with_token(Settings(), path, is_in_use=False)
    assert made.secret
    assert made.secret == known_token(tmp_path) == with_token(Settings(), path, is_in_use=False).secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_given_replaces_the_one_that_is_kept(tmp_path: Path) -> None:
    """Of several the first is sent; a file that others could read is not left like that."""
    path = tmp_path / "run" / "token"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    with_token(Settings(token=SecretStr(f"new-{TOKEN},{TOKEN}")), path, is_in_use=True)
    assert (known_token(tmp_path), known_tokens(tmp_path)) == (f"new-{TOKEN}", (f"new-{TOKEN}", TOKEN))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kept_token_that_is_too_short_by_now_is_replaced_unless_it_is_in_use(tmp_path: Path) -> None:
    """An older version has kept it; what is left running still has it."""
    path = tmp_path / "run" / "token"
    path.parent.mkdir()
    path.write_text("a-made-up-token\n")
    with pytest.raises(SettingsError, match="16 characters"):
        with_token(Settings(), path, is_in_use=True)
    assert with_token(Settings(), path, is_in_use=False).secret == known_token(tmp_path)


@pytest.mark.parametrize("content", ["", "\n", "two words", f"{TOKEN},", "\0" * 32])
def test_a_kept_token_that_is_none_never_opens_the_admin_api(tmp_path: Path, content: str) -> None:
    """A crash in the middle of writing it, or a full disk, leaves an empty file."""
    path = tmp_path / "run" / "token"
    path.parent.mkdir()
    path.write_text(content)
    for read in (lambda: with_token(Settings(), path, is_in_use=False), lambda: known_token(tmp_path)):
        with pytest.raises(SettingsError, match=f"token={path}: "):
            read()


def test_without_a_blog_there_is_no_token(tmp_path: Path) -> None:
    """The command line then asks without one."""
    assert known_token(tmp_path) is None
    assert known_tokens(tmp_path) == ()
