"""Tokens: the shared secrets of a blog, as they are written, sent and checked.

`BLOG_TOKEN=new,old`: both are accepted and the first is sent, so that one can be replaced by the other
process by process. No text that is empty or short is ever taken for "no token".
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.files.regular_file import read_regular_file

MIN_LENGTH = 16
"""Characters that a token has at least."""
MAX_LENGTH = 1024
"""Characters that it has at most: it travels in a header."""
MAKE_ONE = "make one with `openssl rand -hex 32`"

_LIMIT = 64 << 10  # bytes of a file of tokens
_ALLOWED = re.compile(r"[!-+\--~]+")  # visible ASCII without the comma: what a header carries unchanged
_BEARER = re.compile(rb"bearer +([^ ]+) *", re.IGNORECASE)


def parse_tokens(text: str) -> tuple[str, ...]:
    """Read a token, or several with commas between. Raises ValueError; its text contains no token."""
    tokens = tuple(part.strip() for part in text.split(","))
    if not any(tokens):
        raise ValueError(f"it is empty: {MAKE_ONE}")
    for token in tokens:
        if len(token) < MIN_LENGTH:
            raise ValueError(
                f"a token has at least {MIN_LENGTH} characters, not {len(token)}: {MAKE_ONE}"
            )
        if len(token) > MAX_LENGTH:
            raise ValueError(f"a token has at most {MAX_LENGTH} characters, not {len(token)}: {MAKE_ONE}")
        if not _ALLOWED.fullmatch(token):
            raise ValueError("a token consists of visible ASCII characters, without spaces and commas")
    return tokens


def read_token_file(path: Path, name: str) -> str:
    """Return the text of a file with a token, or several; `name` is the setting or folder it is of.

    Raises SettingsError when it cannot be read, or does not hold what `parse_tokens` reads.
    """
    try:
        text = _text_of(path)
        parse_tokens(text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, UnicodeDecodeError):
            why = "it is not text"
        raise SettingsError(f"{name}={path}: {why}.") from None
    return text


def is_short_token(path: Path) -> bool:
    """Return whether a file holds one word that is a token but for its length."""
    try:
        text = _text_of(path)
    except (OSError, ValueError):
        return False
    return 0 < len(text) < MIN_LENGTH and _ALLOWED.fullmatch(text) is not None


def _text_of(path: Path) -> str:
    """Return the text of a file. Raises OSError, or ValueError where it is none, or a large one."""
    content = read_regular_file(str(path), _LIMIT)
    if len(content) == _LIMIT:
        raise ValueError("it is too large for a file of tokens")
    return content.decode("utf-8-sig").strip()


def new_token() -> str:
    """Make a token that nobody can guess: 256 random bits."""
    return secrets.token_urlsafe(32)


def is_authorized(authorization: Sequence[str | bytes], tokens: Sequence[str]) -> bool:
    """Return whether the header `Authorization` (its values) is there once, with one of `tokens`.

    RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1). Compared in constant time.
    """
    if len(authorization) != 1:
        return False
    value = authorization[0]
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    found = _BEARER.fullmatch(raw.strip(b"\t "))
    given = found[1] if found else b""
    # all are compared, so that the time does not say which one it is
    return sum(hmac.compare_digest(given, token.encode()) for token in tokens) > 0
