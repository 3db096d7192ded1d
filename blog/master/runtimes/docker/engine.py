"""Docker engine: every call in a thread of a pool and with a time limit, its errors in one line.

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
"""Seconds that a call may take: starting a container on a busy machine takes several."""
CALLS_AT_ONCE = 16

FAILURES = (DockerException, OSError)
"""Errors of a call; those of the connection are OSErrors."""

T = TypeVar("T")


class DockerEngine:
    """An engine that responds. Made by `DockerEngine.open`."""

    def __init__(self, client: docker.DockerClient, pool: ThreadPoolExecutor) -> None:
        self.is_closed = False
        """Set before its connections are closed: threads that use it have to stop."""
        self._client = client
        self._pool = pool

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["DockerEngine"]:
        """Connect to the engine that DOCKER_HOST names. Raises SettingsError if none responds."""
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
        """Do `work` in a thread. Raises one of FAILURES, TimeoutError included."""
        async with asyncio.timeout(CALL_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._client)


def why(error: BaseException) -> str:
    """Return the message of an error of the engine in one line."""
    text = error.explanation if isinstance(error, APIError) else None
    return " ".join(str(text or str(error) or type(error).__name__).split())


async def _client(pool: ThreadPoolExecutor) -> docker.DockerClient:
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(pool, _connected)
    except FAILURES as error:
        raise SettingsError(f"No Docker engine responds (DOCKER_HOST): {why(error)}") from None


def _connected() -> docker.DockerClient:
    client = docker.from_env(timeout=round(CALL_TIMEOUT))
    try:
        client.ping()
    except FAILURES:
        client.close()
        raise
    return client
