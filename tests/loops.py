"""The loops that tests of connections run in: uvloop, as every process of ours; or asyncio's too."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
import uvloop

Factories = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

UVLOOP: Factories = {"uvloop": uvloop.new_event_loop}
BOTH: Factories = {**UVLOOP, "asyncio": asyncio.new_event_loop}
in_both_loops = pytest.mark.asyncio(loop_factories=list(BOTH))
"""Marks a test that runs in either loop."""


async def broken_off(writer: asyncio.StreamWriter) -> None:
    """Break a test's own connection off, and wait until it is gone: a loop must not close before."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def loops_of(item: pytest.Item) -> Factories:
    """Return the loops that a test runs in."""
    marker = item.get_closest_marker("asyncio")
    return BOTH if marker and "loop_factories" in marker.kwargs else UVLOOP
