"""Thousands of connections that never finish a head keep nobody else from being served."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.e2e.conftest import Blog, wait_until

COUNT = 10_000 if "BLOG_CHAOS_ROUNDS" in os.environ else 2_000

# A process of its own: half-open connections from many addresses of loopback, a byte now and then,
# which come again when they are closed. It ends when its standard input does.
ATTACK = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

async def drip(number, port, opened):
    source = f"127.{1 + number // 60000}.{number // 250 % 240}.{1 + number % 250}"
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        except OSError:
            await asyncio.sleep(0.5)
            continue
        opened.add(number)
        if len(opened) == count:
            print("open", flush=True)
        try:
            for byte in b"GET /posts HTTP/1.1\\r\\nHost: " + b"x" * 1000:
                writer.write(bytes([byte]))
                await asyncio.sleep(2)
                if reader.at_eof():
                    break
        except OSError:
            pass
        finally:
            writer.close()

async def main():
    loop = asyncio.get_running_loop()
    opened = set()
    tasks = [loop.create_task(drip(number, int(sys.argv[1]), opened)) for number in range(count)]
    await loop.run_in_executor(None, sys.stdin.read)

count = int(sys.argv[2])
asyncio.run(main())
"""


def files_of(pid: int) -> int:
    """Count the open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_who_trickles_keeps_nobody_from_being_served(up: Callable[..., Blog]) -> None:
    """Readers are answered meanwhile, and the places are free again afterwards."""
    blog = up(BLOG_MAX_CONNECTIONS=str(COUNT * 3 // 4))
    blog.wait_until_ready(gateway=1, query=1, posts=1, bus=1)
    [gateway] = blog.ready("gateway")
    before = files_of(blog.pid(gateway))
    attack = subprocess.Popen(
        [sys.executable, "-c", ATTACK, blog.url.rpartition(":")[2], str(COUNT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert attack.stdout is not None
        assert attack.stdout.readline() == "open\n"
        assert files_of(blog.pid(gateway)) > COUNT // 2
        took = []
        for _ in range(200):
            began = time.monotonic()
            answer = requests.get(f"{blog.url}/posts", timeout=10, headers={"Connection": "close"})
            assert answer.status_code == 200
            took.append(time.monotonic() - began)
        middle = sorted(took)[100]
        print(f"{COUNT} half-open; p50 {middle * 1000:.1f} ms, worst {max(took) * 1000:.0f} ms")
        assert middle < 1.0
    finally:
        attack.communicate("")
    wait_until(lambda: files_of(blog.pid(gateway)) < before + 50, 20)
