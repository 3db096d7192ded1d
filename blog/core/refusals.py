"""Refusals: a form that the gateway rejects, and that its service shows again. Pure.

The gateway sends it to a path of its own, below `PATH`, which no client can request. An instance of an
older version has no such path: it responds with 404, and cannot process the form as an accepted one.

The action is called all the same, but with peers that only read: they raise TooMany instead of writing,
which it shows like any other of their problems, with what was typed.
"""

from blog.core.errors import TooMany

PATH = "/refused"
SECONDS = "_seconds"
"""The part of the path that holds the seconds until it may be sent again."""


def refused_pattern(pattern: str) -> str:
    """Return the pattern of the path on which the rejected requests for a route arrive."""
    return f"{PATH}/{{{SECONDS}:[0-9]{{1,9}}}}{pattern}"


def refused_path(seconds: int) -> str:
    """Return the prefix for the target of a request that may be sent again in `seconds`."""
    return f"{PATH}/{seconds}"


def too_many_writes(seconds: int) -> TooMany:
    """Make the error for a client that writes too often, and may write again in `seconds`."""
    return TooMany(
        f"Write rate limit exceeded; retry after {seconds} s.", headers={"Retry-After": str(seconds)}
    )
