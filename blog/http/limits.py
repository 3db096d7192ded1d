"""Limits: the numbers that every HTTP port goes by. Nothing else lives here.

Sizes are bytes, times are seconds.
"""

from typing import Any

HEAD_LIMIT = 32 * 1024
"""Request line and headers together; over it → 431."""

FIELD_LIMIT = 100
"""Header fields of one request; over it → 431."""

BODY_LIMIT = 1024 * 1024
"""Body of one request; over it → 413."""

RESPONSE_BUFFER_LIMIT = 64 * 1024
"""Responses up to this size are buffered until complete, so that a crash half-way can be retried."""

REPLAY_LIMIT = 64 * 1024
"""Request bodies up to this size are kept, so that they can be sent to another upstream."""

RESPONSE_HEAD_LIMIT = 64 * 1024
"""Head of an upstream's response; a larger one is malformed."""

HEAD_TIMEOUT = 5.0
"""From the first byte (or the connection) to the complete head; over it → 408."""

LINGER_TIMEOUT = 2.0
"""How long a client may go on sending after the last response."""

KEEPALIVE_TIMEOUT = 75.0
"""How long an idle connection stays open."""

RESPONSE_TIMEOUT = 30.0
"""From sending a request to the head of its response; over it → 504."""

CONNECT_TIMEOUT = 1.0
"""For connecting to an upstream."""

POOL_TIMEOUT = 60.0
"""How long a connection to an upstream stays idle in the pool: less than upstreams keep it."""

IDLE_TIMEOUT = 300.0
"""How long a body, either way, may pause."""

CACHE_LIMIT = 512
"""Entries of one generation of a cache."""

CACHE_KEY_LIMIT = 4096
"""Bytes of the longest key that is cached."""

# A server behind the gateway receives what the gateway accepts plus what it adds; and a head that is
# too large must be read to be refused.
_MARGIN = 2


def server_options() -> dict[str, Any]:
    """Return the options for aiohttp's AppRunner: its own limits are lower than ours."""
    return {
        "max_line_size": HEAD_LIMIT * _MARGIN,
        "max_field_size": HEAD_LIMIT * _MARGIN,
        "max_headers": FIELD_LIMIT * _MARGIN,
        "keepalive_timeout": KEEPALIVE_TIMEOUT,
    }
