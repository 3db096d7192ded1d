"""Publishes to JetStream and waits for each acknowledgement; prints events per second.

`python jetstream_load.py PORT CALLERS BATCH SECONDS`, with the Python of the tools, which has nats-py.
"""

import asyncio
import sys
import time

import nats  # type: ignore[import-not-found] # of the tools, not of ours

_PAYLOAD = b"x" * 200


async def main() -> None:
    """Load one stream on disk."""
    port, callers, batch, seconds = (int(word) for word in sys.argv[1:])
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    jetstream = client.jetstream()
    await jetstream.add_stream(
        name=f"s{callers}x{batch}", subjects=[f"t{callers}x{batch}.*"], storage="file"
    )
    end = 0.0
    count = 0

    async def call(number: int) -> None:
        nonlocal count
        subject = f"t{callers}x{batch}.{number}"
        while time.perf_counter() < end:
            await asyncio.gather(*(jetstream.publish(subject, _PAYLOAD) for _ in range(batch)))
            count += batch

    for span in (0.5, seconds):  # a warm-up first
        count = 0
        began = time.perf_counter()
        end = began + span
        await asyncio.gather(*(call(number) for number in range(callers)))
        took = time.perf_counter() - began
    print(count / took)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
