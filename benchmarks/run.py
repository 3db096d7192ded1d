"""Measures a whole running blog on this machine: start-up, reads, and comments until they are settled.

Starts `blog up` in a folder of its own, on free ports. The load comes from this process, over raw
keep-alive connections, so on few cores its own cost is in every figure.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

SECONDS = 5.0
WARM_UP = 1.0


def free_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


class Bench:
    """A running blog and a client."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.http = http
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process: asyncio.subprocess.Process

    async def start(self, *options: str) -> float:
        """Start the blog; return the seconds until a reader was answered."""
        environ = os.environ | {
            "BLOG_PUBLIC_PORT": self.url.rpartition(":")[2],
            "BLOG_ADMIN_PORT": str(free_port()),
            "BLOG_DATA_DIR": str(self.folder / "data"),
            "BLOG_WRITE_RATE": "0",
        }
        began = time.perf_counter()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "blog", "up", *options,
            env=environ, cwd=self.folder, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        await until(self.answers)
        return time.perf_counter() - began

    async def answers(self) -> bool:
        """Tell whether posts can be read and written."""
        try:
            async with self.http.get(f"{self.url}/posts") as answer:
                if answer.status != 200:
                    return False
            async with self.http.post(f"{self.url}/posts", json={"title": "Bench"}) as answer:
                return answer.status == 201
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        """Drain and stop it."""
        self.process.send_signal(signal.SIGINT)
        await self.process.wait()

    async def post(self, path: str, content: Any) -> Any:
        """Write; anything but 201 ends the run."""
        async with self.http.post(self.url + path, json=content) as answer:
            if answer.status != 201:
                raise SystemExit(f"POST {path} answered {answer.status}: {await answer.text()}")
            return await answer.json()

    async def get(self, path: str) -> Any:
        """Read; anything but 200 ends the run."""
        async with self.http.get(self.url + path) as answer:
            if answer.status != 200:
                raise SystemExit(f"GET {path} answered {answer.status}")
            return await answer.json()


async def rate(work: Callable[[], Awaitable[Any]], callers: int) -> dict[str, float]:
    """Call `work` from `callers` at once for a while; return calls per second and latencies."""
    took: list[float] = []
    end = time.perf_counter() + WARM_UP + SECONDS

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await work()
            if began > end - SECONDS:
                took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    quantiles = statistics.quantiles(took, n=100)
    return {
        "per_second": round(len(took) / SECONDS),
        "p50_ms": round(quantiles[49] * 1000, 2),
        "p99_ms": round(quantiles[98] * 1000, 2),
    }


async def settled(bench: Bench, count: int, posts: int) -> dict[str, float]:
    """Write `count` comments over `posts` posts; return how many per second became approved."""
    ids = [(await bench.post("/posts", {"title": f"P{n}"}))["id"] for n in range(posts)]
    began = time.perf_counter()
    turns = iter(range(count))

    async def writer() -> None:
        for n in turns:
            await bench.post(f"/posts/{ids[n % posts]}/comments", {"content": f"comment {n}"})

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(writer())
    written = time.perf_counter() - began

    async def all_settled() -> bool:
        return all([await is_settled(id_) for id_ in ids])

    async def is_settled(post_id: str) -> bool:
        thread = await bench.get(f"/posts/{post_id}/comments?limit=1000")
        approved = sum(comment["status"] == "approved" for comment in thread)
        return bool(approved == count // posts)

    await until(all_settled)
    took = time.perf_counter() - began
    return {"written_per_second": round(count / written), "settled_per_second": round(count / took)}


async def one_comment(bench: Bench) -> float:
    """Return the milliseconds from sending one comment to seeing it approved on the read side."""
    post = (await bench.post("/posts", {"title": "One"}))["id"]
    began = time.perf_counter()
    await bench.post(f"/posts/{post}/comments", {"content": "seen"})

    async def is_approved() -> bool:
        async with bench.http.get(f"{bench.url}/posts/{post}") as answer:
            comments = (await answer.json()).get("comments", [])
        return bool(comments) and comments[0]["status"] == "approved"

    await until(is_approved)
    return (time.perf_counter() - began) * 1000


async def measure(folder: Path) -> dict[str, Any]:
    """Run everything; return the figures."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        bench = Bench(folder, http)
        first = await bench.start()
        await bench.stop()
        bench = Bench(folder, http)
        second = await bench.start("--scale", "comments=2")
        try:
            post = (await bench.post("/posts", {"title": "Read me"}))["id"]
            await until(lambda: found(bench, post))
            alone = sorted([await one_comment(bench) for _ in range(50)])
            return {
                "cores": os.cpu_count(),
                "start_up_s": {"first": round(first, 2), "second": round(second, 2)},
                "get_post": {str(n): await rate(lambda: bench.get(f"/posts/{post}"), n) for n in (1, 32)},
                "create_post": {
                    str(n): await rate(lambda: bench.post("/posts", {"title": "x"}), n) for n in (1, 32)
                },
                "comments": await settled(bench, 3000, 100),
                "one_comment_approved_p50_ms": round(alone[25], 1),
            }
        finally:
            await bench.stop()


async def found(bench: Bench, post_id: str) -> bool:
    """Tell whether the read side shows a post."""
    async with bench.http.get(f"{bench.url}/posts/{post_id}") as answer:
        return answer.status == 200


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "whole.json")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    text = json.dumps(figures, indent=2)
    out.parent.mkdir(exist_ok=True)
    out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
