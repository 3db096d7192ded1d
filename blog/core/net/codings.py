"""Content codings: bodies travel as they are, in both directions. Pure.

A compressed body is as large as its sender likes (1 MB becomes 1 GB), and a broken one is an error in the
middle of reading. Nobody here needs one, so none is ever opened: a request with a coding is 415.
"""

from collections.abc import Iterable

from blog.core.errors import Malformed, UnsupportedMedia

IDENTITY = "identity"
"""The coding that is none (RFC 9110 §12.5.3)."""
ACCEPT_ENCODING = {"Accept-Encoding": IDENTITY}
"""The only coding that is accepted: in a request, for its response; in a 415, for requests."""

_SHOWN = 80


def coding_of(values: Iterable[str]) -> str | None:
    """Return the codings that the values of `Content-Encoding` name; None when the body is as it is."""
    named = ", ".join(values)
    codings = (coding.strip(" \t").lower() for coding in named.split(","))
    return named[:_SHOWN] if any(coding not in ("", IDENTITY) for coding in codings) else None


def must_be_plain(values: Iterable[str]) -> None:
    """Let a request without a content coding pass. Raises UnsupportedMedia (RFC 9110 §15.5.16)."""
    coding = coding_of(values)
    if coding is not None:
        raise UnsupportedMedia(
            f"The body has the content coding {coding}; send it without one.", headers=ACCEPT_ENCODING
        )


def must_be_chunked(values: Iterable[str]) -> None:
    """Let a request pass whose only transfer coding is `chunked`. Raises Malformed (RFC 9112 §6.1)."""
    if [value.strip(" \t").lower() for value in values] not in ([], ["chunked"]):
        raise Malformed("The only transfer coding that is supported is chunked (RFC 9112 §6.1).")
