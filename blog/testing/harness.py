"""A whole blog in one event loop, for tests: real HTTP on free loopback ports, nothing mocked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp.test_utils import BaseTestServer
from aiohttp.web_runner import BaseRunner
from pydantic import SecretStr
from yarl import URL

from blog.core.clock import SystemClock
from blog.core.deprecated import RenamedAttribute, renamed_names
from blog.core.instance import Instance, State
from blog.core.net.address import Address
from blog.core.settings import Settings
from blog.master.ports import with_ports
from blog.master.programs import defaults
from blog.master.runtimes.in_process import InProcessRuntime
from blog.master.up import BlogProcesses, running
from blog.registry.client.discovery import Discovery

_TOKEN = "token-of-a-test-blog"  # noqa: S105 - of a blog that lives as long as a test
_TIMEOUT = 10.0


class RunningBlog:
    """A running blog that a test can scale, kill and pause."""

    def __init__(self, blog: BlogProcesses, runtime: InProcessRuntime) -> None:
        self._blog = blog
        self._runtime = runtime

    @property
    def url(self) -> str:
        """The URL of the public port."""
        return self._blog.public_url

    @property
    def registry_url(self) -> str:
        """The URL of the registry; its API needs `token`."""
        return Address.of(self._blog.settings.host, self._blog.settings.admin_port).local.url()

    @property
    def token(self) -> str:
        """The token of the admin API."""
        return _TOKEN

    def instances(self, service: str | None = None, state: State | None = None) -> list[Instance]:
        """List the instances that are registered, of one service or in one state if given."""
        return [
            item
            for item in self._blog.registry_client.discovery.instances.values()
            if service in (None, item.service) and state in (None, item.state)
        ]

    async def scale(self, **replicas: int) -> None:
        """Run another number of replicas; return when they are ready."""
        self._blog.reconciler.scale(replicas)
        await self.wait_until(
            lambda blog: all(
                len(blog.instances(name)) == len(blog.instances(name, State.READY)) == count
                for name, count in replicas.items()
            )
        )
        await self.wait_until_converged()

    async def wait_until_converged(self) -> None:
        """Wait until the tables of all instances have converged: they know the same ready instances.

        Load balancers (gateway, bus, peers) hear of a change milliseconds apart.
        """
        ready = {item.id: item.service for item in self.instances(state=State.READY)}
        async with asyncio.timeout(_TIMEOUT):
            for id_ in ready:
                table = self._runtime.member(id_).discovery
                expected = {one for one, service in ready.items() if {service, "*"} & set(table.follow)}
                await table.wait_until(partial(_knows, ids=expected, services=set(ready.values())))

    def kill(self, instance_id: str) -> None:
        """End an instance as kill -9 does; the master starts another one."""
        self._runtime.kill(instance_id)

    def pause(self, instance_id: str) -> None:
        """Make an instance unresponsive, as SIGSTOP does."""
        self._runtime.member(instance_id).pause()

    def resume(self, instance_id: str) -> None:
        """Let a paused instance continue, as SIGCONT does."""
        self._runtime.member(instance_id).resume()

    async def wait_until(self, predicate: Callable[["RunningBlog"], bool]) -> None:
        """Wait until `predicate` holds of what the registry knows. Raises TimeoutError after 10 s."""
        async with asyncio.timeout(_TIMEOUT):
            await self._blog.registry_client.discovery.wait_until(lambda _: predicate(self))

    until = RenamedAttribute("wait_until")
    until_known = RenamedAttribute("wait_until_converged")

    def __repr__(self) -> str:
        """Show the instances."""
        return f"<RunningBlog {self._blog.registry_client.discovery!r}>"


def _knows(table: Discovery, *, ids: set[str], services: set[str]) -> bool:
    known = {id_ for id_, item in table.instances.items() if item.state is State.READY}
    return ids == {id_ for id_ in known if table.instances[id_].service in services}


@asynccontextmanager
async def running_blog(
    folder: Path, options: Mapping[str, Any] = MappingProxyType({}), /, **replicas: int
) -> AsyncIterator[RunningBlog]:
    """Run a blog with its data in `folder`; yield it once every replica is ready.

    Tests write as fast as they can (`write_rate` is 0), unless the settings `options` say otherwise.
    """
    given = {"public_port": 0, "admin_port": 0, "token": SecretStr(_TOKEN), "write_rate": 0, **options}
    settings = with_ports(Settings(data_dir=folder, **given))
    clock = SystemClock()
    async with (
        InProcessRuntime.open(settings, clock) as runtime,
        running(runtime, settings, defaults() | replicas, clock) as blog,
    ):
        async with asyncio.timeout(_TIMEOUT):
            await blog.wait_until_ready()
        running_one = RunningBlog(blog, runtime)
        await running_one.wait_until_converged()
        yield running_one


class GatewayTestServer(BaseTestServer):
    """A server for aiohttp's TestClient: the public port of a blog that is running already."""

    def __init__(self, url: str) -> None:
        self._url = URL(url)
        super().__init__(scheme="http", host=self._url.host or "", port=self._url.port)

    async def start_server(self, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any) -> None:
        """Do nothing but set the URL: it is running already, and stopped by its owner."""
        del loop, kwargs
        self._root = self._url

    async def _make_runner(self, **kwargs: Any) -> BaseRunner:
        raise RuntimeError(f"the blog is running already, without {kwargs}")


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, GatewayServer="GatewayTestServer")
