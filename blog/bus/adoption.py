"""Adoption: `blog bus --adopt` makes this log the one that every registry accepts, each of them once."""

import asyncio
from collections.abc import Sequence

import aiohttp

from blog.core.backoff import Backoff
from blog.core.logs import get_logger
from blog.registry.client.log_adoption import AdoptionRefusedError, adopt_log

_RETRY = Backoff(0.1, 3.0)

log = get_logger()


class LogAdoption:
    """Asks the registries at `urls` until each has adopted the log `identity`, or never will.

    Without any it asks for nothing, and is not accepted.
    """

    def __init__(self, identity: str, urls: Sequence[str], token: str | None) -> None:
        self._identity = identity
        self._urls = urls
        self._token = token
        self._waiting = set(urls)
        self._is_accepted = False
        self._settled = asyncio.Event()
        if not urls:
            self._settled.set()

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Ask every registry, those that come later as well."""
        async with asyncio.TaskGroup() as group:
            for url in self._urls:
                group.create_task(self._ask(http, url))

    async def is_accepted(self) -> bool:
        """Return True once one of them has adopted the log, False once all of them never will."""
        await self._settled.wait()
        return self._is_accepted

    async def _ask(self, http: aiohttp.ClientSession, url: str) -> None:
        failures, said = 0, ""
        while True:
            try:
                await adopt_log(http, url, self._identity, self._token)
            except AdoptionRefusedError as refused:
                said = self._say(url, refused, said)
                if refused.is_unknown:
                    self._settle(url)
                    return
            except (aiohttp.ClientError, OSError):
                pass  # the registry client says it
            else:
                log.info("log.adopted", url=url, log=self._identity)
                self._is_accepted = True
                self._settle(url)
                return
            failures += 1
            await asyncio.sleep(_RETRY.equal_jitter(failures))

    def _settle(self, url: str) -> None:
        self._waiting.discard(url)
        if self._is_accepted or not self._waiting:
            self._settled.set()

    def _say(self, url: str, refused: AdoptionRefusedError, said: str) -> str:
        """Log why it is refused, unless that was `said` already; return it."""
        why = str(refused)
        if why != said:
            log.error("log.not_adopted", url=url, reason=why, next=self._advice(refused))
        return why

    def _advice(self, refused: AdoptionRefusedError) -> str:
        if refused.is_unknown:
            return "upgrade the registry (in the gateway) first, then start the bus with --adopt again"
        return f"waiting; run `blog log adopt {self._identity}` where the registry (in the gateway) runs"

    def __repr__(self) -> str:
        """Show which registries have not adopted it yet."""
        return f"<LogAdoption of {self._identity}, waits for {', '.join(self._waiting) or 'nobody'}>"
