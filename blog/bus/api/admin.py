"""Admin: what operators ask of the bus: subscriptions, and the events that never worked for one."""

import json
from typing import Any

from aiohttp import web

from blog.bus.delivery.delivery import Delivery
from blog.bus.log.log import EventLog
from blog.bus.log.schema import DeadLetter
from blog.core.errors import Invalid, NotFound, Unavailable
from blog.core.web import number


class AdminRoutes:
    """The routes. They answer 503 until `delivery` is there."""

    def __init__(self, journal: EventLog) -> None:
        self.delivery: Delivery | None = None
        self._log = journal

    def routes(self) -> list[web.RouteDef]:
        """List them."""
        return [
            web.get("/subscriptions", self._subscriptions),
            web.post("/subscriptions/{name}/{verb:pause|resume}", self._pause),
            web.post("/subscriptions/{name}/replay", self._replay),
            web.get("/dead-letters", self._letters),
            web.get("/dead-letters/{id}", self._letter),
            web.post("/dead-letters/{id}/{verb:redrive|discard}", self._revive),
        ]

    async def _subscriptions(self, _: web.Request) -> web.Response:
        return web.json_response(self._delivery().table())

    async def _pause(self, request: web.Request) -> web.Response:
        is_paused = request.match_info["verb"] == "pause"
        await self._delivery().find(request.match_info["name"]).pause(is_paused=is_paused)
        return web.Response(status=204)

    async def _replay(self, request: web.Request) -> web.Response:
        after = number(request, "after")
        if after is None:
            raise Invalid("after: is the sequence behind which it begins")
        await self._delivery().find(request.match_info["name"]).replay(after)
        return web.Response(status=204)

    async def _letters(self, request: web.Request) -> web.Response:
        letters = await self._log.dead_letters(request.query.get("subscription"))
        return web.json_response([_told(letter) for letter in letters])

    async def _letter(self, request: web.Request) -> web.Response:
        subscription, sequence = _parsed(request.match_info["id"])
        for letter in await self._log.dead_letters(subscription):
            if letter.entry.sequence == sequence:
                return web.json_response(_told(letter) | {"envelope": json.loads(letter.entry.envelope)})
        raise NotFound("There is no such dead letter.")

    async def _revive(self, request: web.Request) -> web.Response:
        subscription, sequence = _parsed(request.match_info["id"])
        again = request.match_info["verb"] == "redrive"
        await self._delivery().find(subscription).revive(sequence, again=again)
        return web.Response(status=204)

    def _delivery(self) -> Delivery:
        if self.delivery is None:
            raise Unavailable("The bus is still starting.", headers={"Retry-After": "1"})
        return self.delivery


def _told(letter: DeadLetter) -> dict[str, Any]:
    entry = letter.entry
    return {
        "id": f"{letter.subscription}-{entry.sequence}",
        "subscription": letter.subscription,
        "sequence": entry.sequence,
        "event": entry.id,
        "type": entry.type,
        "key": entry.key,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "parked": letter.parked,
    }


def _parsed(text: str) -> tuple[str, int]:
    """Take the name of a dead letter apart. Raises NotFound."""
    subscription, _, sequence = text.rpartition("-")
    if not subscription or not sequence.isdecimal() or len(sequence) > 18:  # noqa: PLR2004 - fits in 64 bits
        raise NotFound("There is no such dead letter: they are named SUBSCRIPTION-SEQUENCE.")
    return subscription, int(sequence)
