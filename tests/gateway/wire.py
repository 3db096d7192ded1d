"""What several tests share: bytes on a connection, and a wait for a condition."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter

PIECE = b"x" * 65536


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def pour(writer: Writer, size: int, *, in_chunks: bool = False) -> None:
    """Write `size` bytes as fast as they are taken, as they are or as chunks of a body."""
    for _ in range(size // len(PIECE)):
        writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if in_chunks else PIECE)
        await writer.drain()
