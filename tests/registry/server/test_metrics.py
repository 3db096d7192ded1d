"""What Prometheus sees of a registry."""

from prometheus_client import CollectorRegistry

from blog.core.instance import State
from blog.registry.server.transitions import RemovalCause
from tests.registry.server.test_service import a_world, seen


async def test_a_life_in_numbers() -> None:
    """Joins, states, losses by cause, suspicions, followers and how far behind they are."""
    async with a_world() as world:
        shown = CollectorRegistry()
        shown.register(world.registry.metrics())

        def value(name: str, **labels: str) -> float | None:
            return shown.get_sample_value(f"blog_registry_{name}", labels)

        follower = await world.open(None, follow=["posts"])
        session = await world.open(await world.stub("p1"))
        await session.ready()
        await world.open(await world.stub("p2"))
        await seen(follower, lambda table: table == {"p1": State.READY, "p2": State.STARTING})
        assert [value("instances", state=state) for state in ("ready", "starting", "suspect")] == [
            1,
            1,
            0,
        ]
        assert value("joins_total") == 2
        assert value("followers") == 1
        assert value("epoch_info", epoch=world.registry.epoch) == 1
        assert (
            value("suspicions_total")
            == value("self_preservation")
            == value("self_preservations_total")
            == 0
        )
        world.registry.membership.remove("p2", RemovalCause.SILENT)
        await session.leave()
        world.registry.schedule_delta()
        await seen(follower, lambda table: table == {})
        assert value("departures_total", reason="left", cause="left") == 1
        assert value("departures_total", reason="lost", cause="silent") == 1
        assert value("departures_total", reason="lost", cause="refused") == 0


async def test_a_follower_that_does_not_keep_up_shows() -> None:
    """In versions that it has not acknowledged."""
    async with a_world() as world:
        shown = CollectorRegistry()
        shown.register(world.registry.metrics())
        watcher = await world.open(None, follow=["posts"])
        stuck = await world.open(None, follow=["posts"])
        stuck.pause()
        before = world.registry.publisher.version
        await world.open(await world.stub("p1"))
        await seen(watcher, lambda table: table == {"p1": State.STARTING})
        lag = shown.get_sample_value("blog_registry_follower_lag")
        assert lag is not None
        assert lag >= world.registry.publisher.version - before
