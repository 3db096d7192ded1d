"""Several processes behind one port: a real gateway with workers, and a real instance behind it."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp

from tests.gateway.test_service import TOKEN, gateway, service, settings_in


async def counted(client: aiohttp.ClientSession, admin: str) -> int:
    """Return how many answers of `things` the gateway has counted."""
    async with client.get(f"{admin}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        text = await answer.text()
    wanted = 'blog_gateway_requests_total{service="things",status="2xx"} '
    return sum(
        int(float(line.removeprefix(wanted))) for line in text.splitlines() if line.startswith(wanted)
    )


def children() -> set[int]:
    """Return the processes that this one has started."""
    pid = os.getpid()
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def test_workers_share_the_port_and_their_counts_add_up(tmp_path: Path) -> None:
    """Each has some of the connections; one that is killed is replaced, and what it counted stays."""
    before = children()
    settings = settings_in(tmp_path, workers=2)
    async with (
        asyncio.timeout(60),
        gateway(settings) as (_, member),
        service(settings, f"http://{member.instance.address}"),
    ):
        url = f"http://{member.instance.metadata['public']}/things"
        admin = f"http://{member.instance.address}"
        statuses: Counter[int] = Counter()

        async def ask(times: int) -> None:
            for _ in range(times):  # a connection of its own each time: the kernel spreads them
                async with aiohttp.ClientSession() as client, client.get(url) as answer:
                    statuses[answer.status] += 1

        async with aiohttp.ClientSession() as client:
            while await _is_503(client, url):
                await asyncio.sleep(0.01)
            already = await counted(client, admin)
            await ask(40)
            while (now := await counted(client, admin)) < already + 40:
                await asyncio.sleep(0.05)
            workers = children() - before
            assert len(workers) == 2
            killed = workers.pop()
            os.kill(killed, signal.SIGKILL)
            while len(children() - before - {killed}) < 2:
                await asyncio.sleep(0.01)
            await ask(20)
            assert statuses == {200: 60}
            while await counted(client, admin) < now + 20:
                await asyncio.sleep(0.05)
    assert children() == before


async def _is_503(client: aiohttp.ClientSession, url: str) -> bool:
    async with client.get(url) as answer:
        return answer.status in {503, 404}


async def test_workers_limit_a_client_together(tmp_path: Path) -> None:
    """However many there are, and also when one is killed: its writes stay counted."""
    rate, burst = 0.2, 12
    before = children()
    settings = settings_in(tmp_path, workers=3, write_rate=rate, write_burst=burst)
    async with (
        asyncio.timeout(60),
        gateway(settings) as (_, member),
        service(settings, f"http://{member.instance.address}", method="POST"),
    ):
        url = f"http://{member.instance.metadata['public']}/things"
        while await ask(20, "GET", url) != {405: 20}:  # until each of them knows of the instance
            await asyncio.sleep(0.01)
        began = time.monotonic()

        writing = (ask(10, "POST", url) for _ in range(6))
        statuses = sum(await asyncio.gather(*writing), Counter[int]())
        assert burst <= statuses[200] <= burst + rate * (time.monotonic() - began)
        killed = min(children() - before)
        os.kill(killed, signal.SIGKILL)
        while len(children() - before - {killed}) < 3:
            await asyncio.sleep(0.01)
        statuses += await ask(40, "POST", url)
        assert set(statuses) <= {200, 429, 404, 503}  # the new one may not know of the instance yet
        assert statuses[200] <= burst + rate * (time.monotonic() - began)
    assert children() == before


async def ask(times: int, method: str, url: str) -> Counter[int]:
    """Count what is answered, on a connection of its own each time: the kernel spreads them."""
    statuses: Counter[int] = Counter()
    for _ in range(times):
        async with aiohttp.ClientSession() as client, client.request(method, url) as answer:
            statuses[answer.status] += 1
    return statuses
