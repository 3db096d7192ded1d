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

RESPONSE_HEAD_LIMIT = 64 * 1024
"""Head of an instance's answer; over it, it is none."""

HEAD_TIMEOUT = 5.0
"""From the first byte (or the connection) to the whole head, whatever the trickle; over it → 408."""

LINGER_TIMEOUT = 2.0
"""How long a client may go on sending after it was told that the connection ends."""

KEEPALIVE_TIMEOUT = 75.0
"""How long an idle connection stays open."""

RESPONSE_TIMEOUT = 30.0
"""From sending a request to the head of its answer; over it → 504."""

CONNECT_TIMEOUT = 1.0
"""Until an instance that does not take the connection counts as not there."""

POOL_TIMEOUT = 60.0
"""How long a connection to an instance waits for another request: less than instances keep it."""

IDLE_TIMEOUT = 300.0
"""How long a body, either way, may say nothing."""

MEMO_LIMIT = 512
"""How many spellings of one kind are remembered, and as many that were used before those."""

MEMO_SIZE = 4096
"""Bytes of the longest one that is."""

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
