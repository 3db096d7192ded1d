"""The registry over plain HTTP, for people, scripts and other languages (`/v1/…`)."""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from blog.core.errors import Conflict, Invalid, NotFound, Unavailable
from blog.core.instance import AddressStr, Instance, Load, Route, State
from blog.core.web import invalid, number, parsed, peer_of, read_body
from blog.registry.messages import DialBackFailed
from blog.registry.server.service import Registry
from blog.registry.server.transitions import RemovalCause

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
        instance = "/v1/services/{service}/instances/{id}"
        return [
            web.put(instance, self._put),
            web.delete(instance, self._delete),
            web.get("/v1/services", self._all),
            web.get("/v1/services/{service}", self._of_service),
            web.get("/v1/watch", self._watch),
            web.get("/v1/prometheus", self._prometheus),
        ]

    async def _put(self, request: web.Request) -> web.Response:
        """Join and renew in one; without a body only renew, which needs a lease (404: join again)."""
        id_ = request.match_info["id"]
        if not request.can_read_body:
            if not self._registry.membership.heartbeat(id_, None, self._registry.now()):
                raise NotFound(f"There is no lease of {id_}; put it again with its address.")
            return self._row(id_)
        lease = parsed(Lease, await read_body(request, "application/json"))
        known = self._registry.membership.get(id_)
        instance = self._instance(request, lease, known)
        self._registry.membership.join(instance, self._registry.now(), lease.ttl)
        self._registry.schedule_delta()
        if known is None or known.state is State.STARTING or known.address != lease.address:
            await self._admit(instance, peer_of(request))
        return self._row(id_)

    def _instance(self, request: web.Request, lease: Lease, known: Instance | None) -> Instance:
        try:
            return Instance(
                id=request.match_info["id"],
                service=request.match_info["service"],
                started_at=known.started_at if known else self._registry.wall_clock(),
                **lease.model_dump(exclude={"ttl"}),
            )
        except ValidationError as error:
            raise invalid(error) from None

    async def _admit(self, instance: Instance, peer: str) -> None:
        outcome = await self._registry.dial_back(instance, peer)
        if isinstance(outcome, DialBackFailed):
            self._registry.membership.remove(instance.id, RemovalCause.REFUSED)
            raise Invalid(
                f"Dialled {outcome.tried}/readyz: {outcome.why}", tried=outcome.tried, why=outcome.why
            )

    async def _delete(self, request: web.Request) -> web.Response:
        """Leave. An instance that holds a session is removed only with `?force=true`."""
        id_ = request.match_info["id"]
        if self._registry.membership.get(id_) is None:
            raise NotFound(f"There is no instance {id_}.")
        is_forced = request.query.get("force") == "true"
        if self._registry.has_session(id_) and not is_forced:
            raise Conflict(f"{id_} holds a session; add ?force=true to remove it anyway.")
        if is_forced:
            self._registry.evict(id_)
        else:
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
