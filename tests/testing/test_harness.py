"""The harness that ships with the package: a whole blog in a test's own loop."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

import blog.services
from blog.core.instance import State
from blog.testing.harness import GatewayTestServer, RunningBlog, running_blog

Client = TestClient[Any, Any]


async def write(client: Client, path: str, **content: str) -> Any:
    """Write, and return what came back."""
    async with client.post(path, json=content) as response:
        assert response.status == 201, await response.text()
        return await response.json()


async def thread(client: Client, post_id: str) -> list[dict[str, Any]]:
    """Read a post's comments; none while the read side does not know the post."""
    async with client.get(f"/posts/{post_id}") as response:
        if response.status != 200:
            return []
        found: list[dict[str, Any]] = (await response.json())["comments"]
        return found


async def settled(client: Client, post_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until `count` comments of a post are settled."""
    async with asyncio.timeout(10):
        while True:
            comments = await thread(client, post_id)
            if sum(comment["status"] != "pending" for comment in comments) == count:
                return comments
            await asyncio.sleep(0.01)


async def test_a_comment_is_settled(blog: RunningBlog, gateway_client: Client) -> None:
    """The fixtures give a running blog and aiohttp's test client on its gateway."""
    assert {item.service for item in blog.instances()} >= {"gateway", "bus", "posts", "query"}
    post = await write(gateway_client, "/posts", title="Hello")
    await write(gateway_client, f"/posts/{post['id']}/comments", content="hi")
    [comment] = await settled(gateway_client, post["id"], 1)
    assert comment["content"] == "hi"


async def test_it_is_ready_within_a_second_or_so(tmp_path: Path) -> None:
    """Function-scoped fixtures have to be quick; the bound is wide for a busy machine."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with running_blog(tmp_path):
        took = loop.time() - began
    print(f"ready after {took:.2f} s")
    assert took < 5


async def test_every_replica_gets_its_share(blog: RunningBlog, gateway_client: Client) -> None:
    """Turns go round over all of them, with no edit anywhere."""
    await blog.scale(query=3)
    served = set()
    for _ in range(6):
        async with gateway_client.get("/posts") as response:
            assert response.status == 200
            served.add(response.headers["Blog-Served-By"])
    assert served == {f"query/{item.id}" for item in blog.instances("query")}


async def test_a_killed_instance_is_replaced_and_nobody_notices(
    blog: RunningBlog, gateway_client: Client
) -> None:
    """The gateway goes on with the others, the master starts another one."""
    await blog.scale(query=2)
    victim = blog.instances("query")[0].id
    blog.kill(victim)
    for _ in range(20):
        async with gateway_client.get("/posts") as response:
            assert response.status == 200
            assert not response.headers["Blog-Served-By"].endswith(victim)
    # cached responses may be faster than the news that it is lost
    await blog.wait_until(lambda now: victim not in {item.id for item in now.instances("query")})
    await blog.wait_until(lambda now: len(now.instances("query", State.READY)) == 2)


@pytest.mark.parametrize("service", ["moderation", "comments"])
async def test_events_wait_for_somebody_who_reacts(
    blog: RunningBlog, gateway_client: Client, service: str
) -> None:
    """With nobody there the events wait in the log; nothing is lost."""
    post = await write(gateway_client, "/posts", title="Hello")
    await write(gateway_client, f"/posts/{post['id']}/comments", content="one")
    await settled(gateway_client, post["id"], 1)
    await blog.scale(moderation=0)
    await write(gateway_client, f"/posts/{post['id']}/comments", content="two")
    assert [c["status"] for c in await seen(gateway_client, post["id"], 2)] == ["approved", "pending"]
    await blog.scale(**{service: 0})
    await blog.scale(moderation=1, comments=1)
    await settled(gateway_client, post["id"], 2)


async def seen(client: Client, post_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until the read side shows `count` comments."""
    async with asyncio.timeout(10):
        while len(comments := await thread(client, post_id)) < count:
            await asyncio.sleep(0.01)
    return comments


async def test_a_paused_instance_is_suspect_and_comes_back(
    blog: RunningBlog, gateway_client: Client
) -> None:
    """A stopped process is not dead; it gets nothing new while another one can answer."""
    await blog.scale(query=2)
    paused = blog.instances("query")[0].id
    blog.pause(paused)
    await blog.wait_until(lambda now: now.instances("query", State.SUSPECT) != [])
    for _ in range(4):
        async with gateway_client.get("/posts") as response:
            assert response.headers["Blog-Served-By"] != f"query/{paused}"
    blog.resume(paused)
    await blog.wait_until(lambda now: len(now.instances("query", State.READY)) == 2)


async def test_without_a_bus_reads_go_on_and_writes_say_so(
    blog: RunningBlog, gateway_client: Client
) -> None:
    """An instance that loses the bus keeps serving what it has."""
    post = await write(gateway_client, "/posts", title="Hello")
    async with asyncio.timeout(10):
        while (await gateway_client.get(f"/posts/{post['id']}")).status != 200:
            await asyncio.sleep(0.01)
    [bus] = blog.instances("bus")
    blog.pause(bus.id)
    async with gateway_client.get(f"/posts/{post['id']}") as response:
        assert response.status == 200
    async with gateway_client.post("/posts", json={"title": "No"}) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
    blog.resume(bus.id)
    await blog.wait_until(lambda now: now.instances("bus", State.READY) != [])
    await write(gateway_client, "/posts", title="Again")


@pytest.mark.parametrize("content", ["def (", "raise SystemExit(0)", "service = 7"])
async def test_a_broken_service_keeps_nobody_else_from_running(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are ready, and answer."""
    folder = tmp_path / "services" / "broken"
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(content)
    monkeypatch.setattr(blog.services, "__path__", [*blog.services.__path__, str(folder.parent)])
    try:
        async with running_blog(tmp_path / "data") as running:
            client: Client = TestClient(GatewayTestServer(running.url))
            async with client:
                assert await write(client, "/posts", title="Hello")
            assert "broken" not in {item.service for item in running.instances()}
    finally:
        for name in [name for name in sys.modules if name.startswith("blog.services.broken")]:
            del sys.modules[name]


async def test_the_old_names_of_waiting_still_work(blog: RunningBlog) -> None:
    """They warn, and wait for the same."""
    with pytest.warns(DeprecationWarning, match="RunningBlog.until is now called wait_until;") as warned:
        await blog.until(lambda now: now.instances("query") != [])
    with pytest.warns(DeprecationWarning, match="until_known is now called wait_until_converged;"):
        await blog.until_known()
    assert [item.filename for item in warned] == [__file__]
