"""Who runs: the registry's table and the master's copies as one list of rows, for `blog ps`."""

from datetime import datetime
from typing import Any

import aiohttp

from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.core.web import bearer
from blog.master.service import Master


class Table:
    """Reads the registry at `url` and lays the master's knowledge beside it."""

    def __init__(
        self, master: Master, http: aiohttp.ClientSession, url: str, token: str | None, clock: Clock
    ) -> None:
        self._master = master
        self._http = http
        self._url = url
        self._headers = bearer(token)
        self._clock = clock

    async def rows(self) -> list[dict[str, Any]]:
        """List every instance, and every copy that the registry does not know (yet, or any more)."""
        rows = [self._of_instance(instance) for instance in await self._instances()]
        named = {row["name"] for row in rows}
        rows += [self._of_copy(name) for name in self._silent() if name not in named]
        return sorted(rows, key=lambda row: (row["service"], row["name"] or row["id"]))

    async def _instances(self) -> list[Instance]:
        try:
            async with self._http.get(f"{self._url}/v1/services", headers=self._headers) as answer:
                services = (await answer.json())["services"]
        except (aiohttp.ClientError, OSError, LookupError):
            return []
        return [Instance.model_validate(row) for rows in services.values() for row in rows]

    def _of_instance(self, instance: Instance) -> dict[str, Any]:
        copy = self._master.copy_of(instance)
        return {
            "id": instance.id,
            "service": instance.service,
            "state": str(instance.state),
            "address": instance.address,
            "version": instance.version,
            "uptime_s": self._age(instance.started_at),
            "in_flight": instance.load.in_flight,
            "name": copy.name if copy else "",
            "restarts": copy.backoff.total if copy else 0,
            "pid": int(instance.metadata.get("pid", "0")),
        }

    def _silent(self) -> list[str]:
        return [copy.name for copy in self._master.copies]

    def _of_copy(self, name: str) -> dict[str, Any]:
        copy = next(copy for copy in self._master.copies if copy.name == name)
        state = "starting" if copy.is_running else "crashed"
        running = self._master.running.get(name)
        return {
            "id": "",
            "service": copy.service,
            "state": "crash loop" if copy.backoff.is_loop and not copy.is_running else state,
            "address": "",
            "version": "",
            "uptime_s": 0,
            "in_flight": 0,
            "name": name,
            "restarts": copy.backoff.total,
            "pid": running.pid if running and copy.is_running else 0,
            "last_lines": running.last_lines()[-3:] if running and copy.backoff.is_loop else [],
        }

    def _age(self, started: datetime) -> int:
        return max(0, round((self._clock.now() - started).total_seconds()))
