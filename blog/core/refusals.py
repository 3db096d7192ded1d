"""Refusals: a form that the gateway does not let through, and that its service shows again. Pure.

The gateway sends it to a path of its own, below `PATH`, which no client can ask for. An instance of
an older version has no such path: it answers 404, and cannot take the form for one that was let through.

The action is called all the same, but with peers that only read: what they raise instead of writing
(TooMany) it shows like any other of their problems, with what was typed.
"""

from blog.core.errors import TooMany

PATH = "/refused"
SECONDS = "_seconds"
"""The part of the path that says in how many seconds it may be sent again."""


def refused_pattern(pattern: str) -> str:
    """Return where the refused requests for a route arrive."""
    return f"{PATH}/{{{SECONDS}:[0-9]{{1,9}}}}{pattern}"


def refused_path(seconds: int) -> str:
    """Return what the gateway puts before the target of a request that may come again in `seconds`."""
    return f"{PATH}/{seconds}"


def too_many_writes(seconds: int) -> TooMany:
    """Say that a client writes too often, and may write again in `seconds`."""
    return TooMany(
        f"Write rate limit exceeded; retry after {seconds} s.", headers={"Retry-After": str(seconds)}
    )
