"""The registry over plain HTTP, for people, scripts and other languages (`/v1/…`)."""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from blog.core.errors import Conflict, Forbidden, Invalid, NotFound, TooMany, Unavailable
from blog.core.instance import AddressStr, Instance, Load, Route, State
from blog.core.net.peer import peer_of
from blog.core.web import invalid, number, parsed, read_body
from blog.registry.messages import DialBackFailed
from blog.registry.server.joins import JoinRefusedError
from blog.registry.server.ownership import Holder
from blog.registry.server.service import Registry
from blog.registry.server.transitions import RemovalCause

_INSTANCE = "/v1/services/{service}/instances/{id}"
_WATCH_TIMEOUT = 60.0


class Lease(BaseModel):
    """The body of a PUT. The instance is lost `ttl` seconds after the last PUT."""

    address: AddressStr
    ttl: float = Field(default=10.0, ge=1, le=60)
    version: str = ""
    routes: tuple[Route, ...] = ()
    reactions: tuple[str, ...] = ()
    load: Load = Load()
    weight: int = Field(default=1, ge=0, le=1000)
    """Accepted and shown in the table, and otherwise ignored: all instances get the same share."""
    metadata: dict[str, str] = {}


class RestAPI:
    """The handlers; they hold no state of their own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to mount."""
        return [
            web.put(_INSTANCE, self._put),
            web.delete(_INSTANCE, self._delete),
            web.get("/v1/services", self._all),
            web.get("/v1/services/{service}", self._of_service),
            web.get("/v1/watch", self._watch),
            web.get("/v1/prometheus", self._prometheus),
        ]

    async def _put(self, request: web.Request) -> web.Response:
        """Join and renew in one; without a body only renew, which needs a lease (404: join again)."""
        id_, peer = request.match_info["id"], peer_of(request)
        if not request.can_read_body:
            self._renew(id_, request.match_info["service"], peer)
            return self._row(id_)
        lease = parsed(Lease, await read_body(request, "application/json"))
        known = self._registry.membership.get(id_)
        instance = self._instance(request, lease, known)
        try:
            self._registry.joins.put_lease(instance, peer, lease.ttl)
        except JoinRefusedError as refused:
            self._registry.policy.refusals.log(peer, _INSTANCE, str(refused))
            raise refused.kind(f"{refused}.") from None
        self._registry.schedule_delta()
        if known is None or known.state is State.STARTING or known.address != lease.address:
            await self._admit(id_, peer)
        return self._row(id_)

    def _renew(self, id_: str, service: str, peer: str) -> None:
        held = self._held(id_, service)
        if held is None:
            raise NotFound(f"There is no lease of {id_}; put it again with its address.")
        if not held.is_lease:
            raise Conflict(f"{id_} is an instance with a session.")
        self._must_be_holder(held, peer)
        self._registry.membership.heartbeat(id_, None, self._registry.now())

    def _held(self, id_: str, service: str) -> Holder | None:
        """Return who holds the id of an instance of that service; None if there is none."""
        held = self._registry.joins.holders.get(id_)
        return held if held is not None and held.service == service else None

    def _must_be_holder(self, held: Holder, peer: str) -> None:
        if not self._registry.joins.may_change(held, peer):
            raise Forbidden("This instance belongs to another address; set BLOG_TOKEN for every process.")

    def _instance(self, request: web.Request, lease: Lease, known: Instance | None) -> Instance:
        try:
            return Instance(
                id=request.match_info["id"],
                service=request.match_info["service"],
                started_at=known.running_since if known else self._registry.wall_clock(),
                **lease.model_dump(exclude={"ttl"}),
            )
        except ValidationError as error:
            raise invalid(error) from None

    async def _admit(self, id_: str, peer: str) -> None:
        """Dial the instance back; remove it when it cannot be reached, unless it is another's by now."""
        tenure = self._tenure(id_)
        try:
            outcome = await self._registry.dial_backs.dial_back(id_, peer)
        except TooMany:
            self._remove_unreachable(id_, tenure)
            raise
        if isinstance(outcome, DialBackFailed):
            self._remove_unreachable(id_, tenure)
            raise Invalid(
                f"Dialled {outcome.tried}/readyz: {outcome.why}", tried=outcome.tried, why=outcome.why
            )
        if outcome is None or self._tenure(id_) is not tenure:
            raise Conflict(f"{id_} has changed meanwhile; put it again.")
        self._registry.schedule_delta()

    def _tenure(self, id_: str) -> object:
        holder = self._registry.joins.holders.get(id_)
        return holder.tenure if holder is not None else None

    def _remove_unreachable(self, id_: str, tenure: object) -> None:
        if self._tenure(id_) is tenure:
            self._registry.membership.remove(id_, RemovalCause.REFUSED)
            self._registry.schedule_delta()

    async def _delete(self, request: web.Request) -> web.Response:
        """Leave. An instance that holds a session is removed only with `?force=true`."""
        id_, service = request.match_info["id"], request.match_info["service"]
        held = self._held(id_, service)
        if held is None:
            raise NotFound(f"There is no instance {id_} of {service}.")
        if request.query.get("force") == "true":
            self._registry.evict(id_)
            return web.Response(status=204)
        if self._registry.has_session(id_):
            raise Conflict(f"{id_} holds a session; add ?force=true to remove it anyway.")
        self._must_be_holder(held, peer_of(request))
        self._registry.membership.remove(id_, RemovalCause.LEFT)
        self._registry.schedule_delta()
        return web.Response(status=204)

    async def _all(self, _: web.Request) -> web.Response:
        return web.json_response(self._table())

    async def _of_service(self, request: web.Request) -> web.Response:
        rows = self._table()["services"].get(request.match_info["service"], [])
        return web.json_response(rows)

    async def _watch(self, request: web.Request) -> web.Response:
        """Return the table once it is newer than `version`, at the latest after 60 s."""
        version = number(request, "version", 0)
        with suppress(TimeoutError):
            publisher = self._registry.publisher
            async with asyncio.timeout(_WATCH_TIMEOUT), publisher.changed:
                await publisher.changed.wait_for(lambda: publisher.version > version)
        return web.json_response(self._table())

    async def _prometheus(self, _: web.Request) -> web.Response:
        """List targets for Prometheus' http_sd_config."""
        return web.json_response(
            [
                {"targets": [item.address], "labels": {"service": item.service, "instance": item.id}}
                for item in self._registry.membership.instances
            ]
        )

    def _row(self, instance_id: str) -> web.Response:
        instance = self._registry.membership.get(instance_id)
        if instance is None:
            raise Unavailable(f"{instance_id} has left.", headers={"Retry-After": "1"})
        return web.json_response(instance.model_dump(mode="json"))

    def _table(self) -> dict[str, Any]:
        services: dict[str, list[Any]] = {}
        for item in self._registry.membership.instances:
            services.setdefault(item.service, []).append(item.model_dump(mode="json"))
        version = self._registry.publisher.version
        return {"epoch": self._registry.epoch, "version": version, "services": services}
