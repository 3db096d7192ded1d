"""Admin API of the bus: subscriptions, and their dead letters."""

from typing import Any

from aiohttp import web

from blog.bus.delivery.delivery import Delivery
from blog.bus.log.log import EventLog
from blog.bus.log.schema import DeadLetter
from blog.core.errors import Invalid, NotFound, Unavailable
from blog.core.net.http_client import parse_json
from blog.core.numbers import whole
from blog.core.web import number


class AdminRoutes:
    """The routes of the admin API. They respond with 503 until `delivery` is set."""

    def __init__(self, event_log: EventLog) -> None:
        self.delivery: Delivery | None = None
        self._log = event_log

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/subscriptions", self._subscriptions),
            web.post("/subscriptions/{name}/{verb:pause|resume}", self._pause),
            web.post("/subscriptions/{name}/replay", self._replay),
            web.get("/dead-letters", self._dead_letters),
            web.get("/dead-letters/{id}", self._dead_letter),
            web.post("/dead-letters/{id}/{verb:redrive|discard}", self._redrive_or_discard),
        ]

    async def _subscriptions(self, _: web.Request) -> web.Response:
        return web.json_response(self._delivery().describe())

    async def _pause(self, request: web.Request) -> web.Response:
        is_paused = request.match_info["verb"] == "pause"
        await self._delivery().find(request.match_info["name"]).pause(is_paused=is_paused)
        return web.Response(status=204)

    async def _replay(self, request: web.Request) -> web.Response:
        after = number(request, "after")
        if after is None:
            raise Invalid("after: name the sequence after which the replay begins")
        await self._delivery().find(request.match_info["name"]).replay(after)
        return web.Response(status=204)

    async def _dead_letters(self, request: web.Request) -> web.Response:
        letters = await self._log.dead_letters(request.query.get("subscription"))
        return web.json_response([_as_json(letter) for letter in letters])

    async def _dead_letter(self, request: web.Request) -> web.Response:
        subscription, sequence = _parse_id(request.match_info["id"])
        for letter in await self._log.dead_letters(subscription):
            if letter.entry.sequence == sequence:
                return web.json_response(_as_json(letter) | {"envelope": _envelope(letter)})
        raise NotFound("There is no such dead letter.")

    async def _redrive_or_discard(self, request: web.Request) -> web.Response:
        subscription, sequence = _parse_id(request.match_info["id"])
        found = self._delivery().find(subscription)
        if request.match_info["verb"] == "redrive":
            await found.redrive(sequence)
        else:
            await found.discard(sequence)
        return web.Response(status=204)

    def _delivery(self) -> Delivery:
        if self.delivery is None:
            raise Unavailable("The bus is still starting.", headers={"Retry-After": "1"})
        return self.delivery


def _as_json(letter: DeadLetter) -> dict[str, Any]:
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


def _envelope(letter: DeadLetter) -> Any:
    """Return the event as JSON; one that cannot be read (of another version) is shown as its text."""
    try:
        return parse_json(letter.entry.envelope.encode())
    except ValueError:
        return letter.entry.envelope


def _parse_id(text: str) -> tuple[str, int]:
    """Return the subscription and the sequence that the id of a dead letter names. Raises NotFound."""
    subscription, _, number = text.rpartition("-")
    sequence = whole(number)
    if not subscription or sequence is None:
        raise NotFound("There is no such dead letter: its id is SUBSCRIPTION-SEQUENCE.")
    return subscription, sequence
