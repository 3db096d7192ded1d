"""The Docker engine: every call in a thread of a pool and with a time limit, its errors in one line.

Nothing here knows of the blog.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import docker
from docker.errors import APIError, DockerException

from blog.core.errors import SettingsError

CALL_TIMEOUT = 60.0
"""Seconds that a call may take: a container's start on a busy machine takes some."""
CALLS_AT_ONCE = 16

FAILURES = (DockerException, OSError)
"""What a call may fail with; errors of the connection are OSErrors."""

T = TypeVar("T")


class DockerEngine:
    """An engine that answers. Made by `DockerEngine.open`."""

    def __init__(self, client: docker.DockerClient, pool: ThreadPoolExecutor) -> None:
        self.is_closed = False
        """Set before its connections are closed: who calls from a thread of its own has to stop."""
        self._client = client
        self._pool = pool

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["DockerEngine"]:
        """Connect to the engine that DOCKER_HOST names. Raises SettingsError when none answers."""
        pool = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="docker")
        try:
            client = await _client(pool)
            engine = DockerEngine(client, pool)
            try:
                yield engine
            finally:
                engine.is_closed = True
                client.close()
        finally:
            pool.shutdown(wait=False)

    async def call(self, work: Callable[[docker.DockerClient], T]) -> T:
        """Do `work` in a thread. Raises one of FAILURES, a TimeoutError among them."""
        async with asyncio.timeout(CALL_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._client)


def why(error: BaseException) -> str:
    """Say in one line what an engine said."""
    said = error.explanation if isinstance(error, APIError) else None
    return " ".join(str(said or str(error) or type(error).__name__).split())


async def _client(pool: ThreadPoolExecutor) -> docker.DockerClient:
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(pool, _connected)
    except FAILURES as error:
        raise SettingsError(f"No Docker engine answers here (DOCKER_HOST): {why(error)}") from None


def _connected() -> docker.DockerClient:
    client = docker.from_env(timeout=round(CALL_TIMEOUT))
    try:
        client.ping()
    except FAILURES:
        client.close()
        raise
    return client
