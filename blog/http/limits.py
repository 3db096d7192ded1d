"""Limits: the numbers of contracts §3, for every door. Nothing else lives here.

Sizes are bytes, times are seconds.
"""

from typing import Any

HEAD_LIMIT = 32 * 1024
"""Request line and headers together; over it → 431."""

FIELD_LIMIT = 100
"""Header fields of one request; over it → 431."""

BODY_LIMIT = 1024 * 1024
"""Body of one request; over it → 413."""

HELD_LIMIT = 64 * 1024
"""Answers up to this size are held until they are whole, so that a crash half-way stays unseen."""

REPLAY_LIMIT = 64 * 1024
"""Bodies of requests up to this size are kept, so that they can be sent to another instance."""

KEEPALIVE_TIMEOUT = 75.0
"""How long an idle connection stays open."""

ANSWER_TIMEOUT = 30.0
"""From sending a request to the head of its answer; over it → 504."""

IDLE_TIMEOUT = 300.0
"""How long a body, either way, may say nothing."""

# A door behind the gateway gets what the gateway lets through plus what it adds; and the gateway
# must be able to read a head that is too large, to say so.
_ROOM = 2


def server_options() -> dict[str, Any]:
    """Return the options for aiohttp's AppRunner: its own limits are lower than ours."""
    return {
        "max_line_size": HEAD_LIMIT * _ROOM,
        "max_field_size": HEAD_LIMIT * _ROOM,
        "max_headers": FIELD_LIMIT * _ROOM,
        "keepalive_timeout": KEEPALIVE_TIMEOUT,
    }
