"""What Prometheus sees of the bus."""

import asyncio
from contextlib import aclosing

from blog.core.reactions import DeliveryRequest
from blog.core.web import bearer
from tests.bus.api.test_admin import Reactor, post, subscription
from tests.bus.conftest import TOKEN, Rig
from tests.bus.delivery.test_delivery import CAUSE, cause, effects_of


async def metrics(rig: Rig) -> dict[str, float]:
    """Read them, by name and labels."""
    async with rig.http.get(f"{rig.url}/metrics", headers=bearer(TOKEN)) as response:
        lines = (await response.text()).splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines)
        if name[:1] != "#"
    }


async def test_subscriptions_are_counted(rig: Rig) -> None:
    """What they have, what waits, what became of batches."""
    tries = 0

    class Flaky(Reactor):
        def __call__(self, delivery: DeliveryRequest) -> dict[str, object]:
            nonlocal tries
            tries += 1
            response = super().__call__(delivery)
            if tries == 1:
                response["results"][0] |= {"outcome": "retry", "events": []}
            return response

    await rig.reactor("reactor", [CAUSE], Flaky("c1"))
    await rig.client.append([cause(0, "a")])
    await effects_of(rig, 1)
    await rig.client.append([cause(1, "a"), cause(2, "a")])
    await subscription(rig, dead=1, parked=1, lag=0)
    assert await post(rig, "/subscriptions/reactor/pause") == 204
    await rig.client.append([cause(3, "b")])
    await subscription(rig, oldest=5)
    found = await metrics(rig)
    of = '{subscription="reactor"}'
    names = ("dead", "parked", "paused", "lag")
    assert [found[f"blog_bus_subscription_{name}{of}"] for name in names] == [1, 1, 1, 1]
    assert found[f"blog_bus_subscription_oldest_seconds{of}"] > 0
    outcomes = {
        outcome: found[f'blog_bus_attempts_total{{outcome="{outcome}",subscription="reactor"}}']
        for outcome in ("done", "retry", "dead")
    }
    assert outcomes == {"done": 1, "retry": 1, "dead": 1}


async def test_the_log_and_its_followers_are_counted(rig: Rig) -> None:
    """Commits with their time, streams with their lag."""
    await rig.client.append([cause(0), cause(1)])
    async with aclosing(rig.client.follow(0)) as stream:
        assert (await anext(stream)).through == 2
        found = await metrics(rig)
        assert (found["blog_bus_head"], found["blog_bus_followers"], found["blog_bus_follower_lag"]) == (
            2,
            1,
            0,
        )
        assert found["blog_bus_commit_seconds_count"] >= 1
        assert 0 < found["blog_bus_commit_seconds_sum"] < 60
    number = 2
    async with asyncio.timeout(5):
        while (await metrics(rig))["blog_bus_followers"]:
            number += 1
            await rig.client.append(
                [cause(number)]
            )  # a stream that is gone is noticed when it is written to
