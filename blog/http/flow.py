"""Flow control: how much a connection holds of what its peer does not take. Next to nothing."""

import asyncio


def hold_little(transport: asyncio.Transport) -> None:
    """Let `transport` stop its protocol as soon as the kernel does not take all, until it has taken it.

    `high=0` would not say that. A plain transport stops its protocol when it holds more than `high`; one
    over TLS (uvloop's as asyncio's) when it holds as much: with 0 it stops the protocol while it holds
    nothing, and as nothing is left to be sent, nothing tells the protocol to go on.
    """
    transport.set_write_buffer_limits(high=1, low=0)
