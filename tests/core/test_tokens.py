"""Tokens: how they are written, read and compared; nothing is "no token" by mistake."""

import os
from pathlib import Path

import pytest

from blog.core.errors import SettingsError
from blog.core.tokens import is_authorized, new_token, parse_tokens, read_token_file

A, B = "a" * 16, "b!/+=-._~" + "b" * 16


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (A, (A,)),
        (f" {A}\n", (A,)),
        (f"{A},{B}", (A, B)),
        (f"{B} , {A}", (B, A)),
    ],
)
def test_one_or_several_with_commas(text: str, tokens: tuple[str, ...]) -> None:
    """The first is sent."""
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        ",",
        "short",
        "a" * 15,
        f"{A},",
        f",{A}",
        f"{A},,{B}",
        f"{A},short",
        "ä" * 16,
        "a" * 8 + " " + "a" * 8,
        "a" * 16 + "\n" + "b" * 16,
        "a" * 16 + "\x00",
        "a" * 16 + "\x7f",
        " " * 20,
        "\u00a0" * 20,
        "a" * 1025,
    ],
)
def test_what_is_no_token_is_an_error_that_does_not_show_it(text: str) -> None:
    """Empty, short, or what no header carries."""
    with pytest.raises(ValueError, match=r"empty|16 characters|1024 characters|ASCII") as caught:
        parse_tokens(text)
    assert not text.strip() or text not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"  \n",
        b"short\n",
        b"\xff\xfe" * 20,
        b"\x00" * 32,
        b"a" * 2000,
        (b"a" * 16 + b",") * 5000,
    ],
)
def test_a_file_without_a_token_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    """Never "no token": an empty file would open everything."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"BLOG_TOKEN_FILE={path}: ") as caught:
        read_token_file(path, "BLOG_TOKEN_FILE")
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("content", [A, A + "\n", A + "\r\n", "\ufeff" + A])
def test_a_file_as_editors_write_it(tmp_path: Path, content: str) -> None:
    """With an end of line, or a byte order mark."""
    path = tmp_path / "token"
    path.write_bytes(content.encode())
    assert read_token_file(path, "x") == A


def test_what_is_no_file_never_blocks(tmp_path: Path) -> None:
    """A folder, a pipe without a writer, nothing."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none"):
        with pytest.raises(SettingsError, match=f"token={path}"):
            read_token_file(path, "token")


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {A}",
        f"bearer {A}",
        f"BEARER {A}",
        f"bEaReR   {A}",
        f"Bearer {A}  ",
        f" Bearer {A}",
        f"Bearer {B}",
        f"Bearer {A}".encode(),
    ],
)
def test_who_has_one_of_them_is_let_in(value: str | bytes) -> None:
    """The scheme's case does not matter (RFC 9110 §11.1)."""
    assert is_authorized([value], (A, B))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [A],
        [f"Basic {A}"],
        [f"Bearer{A}"],
        [f"Bearer {A},{B}"],
        [f"Bearer {A} {A}"],
        [f"Bearer {A}x"],
        [f"Bearer {A.upper()}"],
        [f"Bearer {A}", f"Bearer {A}"],
        ["Bearer \udcff"],
        [b"Bearer \xff"],
    ],
)
def test_who_has_none_is_not(values: list[str | bytes]) -> None:
    """Nor who sends two headers: which one counts would be a guess."""
    assert not is_authorized(values, (A, B))


def test_without_tokens_nobody_has_one() -> None:
    """An empty list never matches an empty header."""
    assert not is_authorized(["Bearer "], ())


def test_one_that_is_made_counts() -> None:
    """As long as one of ours, and another each time."""
    assert parse_tokens(new_token())
    assert new_token() != new_token()
