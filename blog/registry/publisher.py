"""Publisher: tells followers what changed, in batches, and knows who has acted on it. Decides nothing.

A follower has no queue: it is sent what is new since its last message whenever it can take it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from blog.registry.membership import Change
from blog.registry.messages import Delta, Snapshot, encode
from blog.registry.table import Table, follows

BATCH_DELAY = 0.01
"""Seconds that changes are collected before they go out."""


class Follower:
    """Somebody who is told, by `send`, of changes to the services in `follow`."""

    def __init__(self, send: Callable[[str], Awaitable[bool]]) -> None:
        self.send = send
        self.follow: frozenset[str] = frozenset()
        self.sent: int | None = None  # None: needs the whole table
        self.acknowledged = -1
        self.news = asyncio.Event()

    def start_over(self, follow: frozenset[str]) -> None:
        """Let the next message be the whole table of `follow`."""
        self.follow, self.sent = follow, None
        self.news.set()


class Publisher:
    """The table, and who follows it. `run` has to run."""

    def __init__(self, epoch: str) -> None:
        self.table = Table(epoch)
        self._followers: set[Follower] = set()
        self._changed, self._flushed, self._acknowledged = (asyncio.Event() for _ in range(3))
        self._encoded: dict[tuple[int | None, frozenset[str]], str | None] = {}
        self._encoded_version = -1

    def publish(self, changes: Iterable[Change]) -> None:
        """Write `changes` down; followers hear of them soon."""
        before = self.table.version
        self.table.apply(changes)
        if self.table.version != before:
            self._changed.set()

    async def run(self) -> None:
        """Wake the followers, at most once every `BATCH_DELAY`."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(BATCH_DELAY)
            self._changed.clear()
            for follower in self._followers:
                follower.news.set()
            self._flushed = _pulse(self._flushed)

    async def serve(self, follower: Follower) -> None:
        """Send `follower` the table and then every change, until it cannot be reached."""
        self._followers.add(follower)
        try:
            is_reached = True
            while is_reached:
                await follower.news.wait()
                follower.news.clear()
                text = self._news(follower)
                follower.sent = self.table.version
                is_reached = text is None or await follower.send(text)
        finally:
            self._followers.discard(follower)
            self._acknowledged = _pulse(self._acknowledged)

    def acknowledge(self, follower: Follower, version: int) -> None:
        """Note that `follower` acts on the table as of `version`."""
        follower.acknowledged = max(follower.acknowledged, version)
        self._acknowledged = _pulse(self._acknowledged)

    async def wait_until_known(self, service: str, version: int, but: Follower) -> None:
        """Return when every follower of `service`, except `but`, acts on `version` or a later one."""
        while any(
            follower.acknowledged < version
            for follower in self._followers
            if follower is not but and follows(follower.follow, service)
        ):
            await self._acknowledged.wait()

    async def wait_until_changed(self) -> None:
        """Return when changes have gone out."""
        await self._flushed.wait()

    def stop_waiting(self) -> None:
        """Let those go who wait for changes, because there will be none."""
        self._flushed = _pulse(self._flushed)

    def _news(self, follower: Follower) -> str | None:
        """Write what is new for `follower`, once for all who need the same; None if nothing is."""
        if self._encoded_version != self.table.version:
            self._encoded.clear()
            self._encoded_version = self.table.version
        key = (follower.sent, follower.follow)
        if key not in self._encoded:
            self._encoded[key] = self._encode(*key)
        return self._encoded[key]

    def _encode(self, since: int | None, follow: frozenset[str]) -> str | None:
        message: Delta | Snapshot | None = None if since is None else self.table.delta(since, follow)
        if message is None:
            message = self.table.snapshot(follow)
        elif not (message.put or message.gone):
            return None
        return encode(message)


def _pulse(event: asyncio.Event) -> asyncio.Event:
    """Wake everybody who waits for `event` now; return the one to wait for from here on."""
    event.set()
    return asyncio.Event()
