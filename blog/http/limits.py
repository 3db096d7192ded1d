"""How much goes in at our doors: the numbers, and what they are called where aiohttp wants them."""

from typing import Any

HEAD_LIMIT = 32 * 1024
"""Bytes of request line and headers; more is 431."""
FIELD_LIMIT = 100
"""Header fields of a request; more is 431."""
BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body, unless its route says more; more is 413."""
IDLE_TIMEOUT = 75.0
"""Seconds that a connection without a request stays open."""
CONNECT_TIMEOUT = 1.0
"""Seconds to reach an instance."""
RESPONSE_TIMEOUT = 30.0
"""Seconds until an instance has sent the head of its answer."""
STREAM_TIMEOUT = 300.0
"""Seconds without a byte until a stream counts as dead."""
HELD_ANSWER = 64 * 1024
"""Bytes up to which the answer to a GET is held until it is whole, so that it can be asked for again."""


def server_options() -> dict[str, Any]:
    """Return the options of aiohttp's server that make a door take as much as these numbers say.

    aiohttp limits each line; its own limits are lower than what the gateway lets through.
    """
    return {
        "max_line_size": HEAD_LIMIT,
        "max_field_size": HEAD_LIMIT,
        "keepalive_timeout": IDLE_TIMEOUT,
    }
