"""Publishes to JetStream at a rate and hears of it by a push consumer; prints the milliseconds that took.

`python jetstream_latency.py PORT RATE SECONDS`, with the Python of the tools, which has nats-py. Each
message is acknowledged when it is heard of.
"""

import asyncio
import json
import sys
import time
from typing import Any

import nats  # type: ignore[import-not-found] # of the tools, not of ours

_PAD = b" " * 180


async def main() -> None:
    """Publish, hear, print."""
    port, rate, seconds = (int(word) for word in sys.argv[1:])
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    jetstream = client.jetstream()
    await jetstream.add_stream(name="pings", subjects=["pings.*"], storage="file")
    took: list[float] = []

    async def hear(message: Any) -> None:
        took.append((time.monotonic_ns() - int(message.data)) / 1e6)
        await message.ack()

    await jetstream.subscribe("pings.*", durable="reactor", cb=hear, manual_ack=True)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for n in range(rate * seconds):
            await asyncio.sleep(began + n / rate - time.monotonic())
            payload = str(time.monotonic_ns()).encode() + _PAD
            group.create_task(jetstream.publish(f"pings.{n % 100}", payload))
    while len(took) < rate * seconds:
        await asyncio.sleep(0.01)
    json.dump(took, sys.stdout)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
