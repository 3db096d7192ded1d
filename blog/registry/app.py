"""App: the routes of a registry, put together."""

from aiohttp import web

from blog.core.web import problems, requires_token
from blog.registry.server.rest import RestAPI
from blog.registry.server.service import Registry
from blog.registry.server.session_handler import SessionHandler


def registry_routes(registry: Registry) -> list[web.RouteDef]:
    """Return the routes to mount on an admin API."""
    return [web.get("/v1/session", SessionHandler(registry).serve), *RestAPI(registry).routes()]


def registry_app(registry: Registry, token: str | None) -> web.Application:
    """Make an app of `registry` alone; its whole API needs the token."""
    app = web.Application(
        middlewares=[problems, requires_token(token, lambda request: request.path.startswith("/v1/"))]
    )
    app.add_routes(registry_routes(registry))
    return app
