"""The log of the blog, at a registry: which one it is, and an operator's decision that it is another."""

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, StringConstraints

from blog.core.web import parsed, read_body
from blog.registry.log_identity import IDENTITY, LOG_PATH
from blog.registry.server.service import Registry


class AdoptedLog(BaseModel):
    """The body of `PUT /v1/log`."""

    log: Annotated[str, StringConstraints(pattern=IDENTITY)]


class LogAPI:
    """The handlers; they hold no state of their own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to mount."""
        return [web.get(LOG_PATH, self._get), web.put(LOG_PATH, self._put)]

    async def _get(self, _: web.Request) -> web.Response:
        """Return the identity of the blog's log, null before a bus was ready."""
        return web.json_response({"log": self._registry.log_identity.current})

    async def _put(self, request: web.Request) -> web.Response:
        """Adopt a log. A bus with another one leaves, and its own may join. Only operators may."""
        adopted = parsed(AdoptedLog, await read_body(request, "application/json"))
        known = self._registry.log_identity
        if adopted.log != known.current or known.is_claim:
            self._registry.adopt_log(adopted.log)
        return await self._get(request)
