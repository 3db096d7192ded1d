"""App: the routes of a registry, put together."""

from aiohttp import hdrs, web

from blog.core.net.access_control import access_control
from blog.core.net.access_policy import Access
from blog.core.web import is_probe, problems
from blog.registry.log_identity import LOG_PATH
from blog.registry.server.log_api import LogAPI
from blog.registry.server.rest import RestAPI
from blog.registry.server.service import Registry
from blog.registry.server.session_handler import SessionHandler


def registry_routes(registry: Registry) -> list[web.RouteDef]:
    """Return the routes to mount on an admin API."""
    session = web.get("/v1/session", SessionHandler(registry).serve)
    return [session, *RestAPI(registry).routes(), *LogAPI(registry).routes()]


def access_of(request: web.Request) -> Access:
    """Return what a request to an admin API asks for."""
    if is_probe(request.path):
        return Access.PROBE
    is_forced = request.method == hdrs.METH_DELETE and request.query.get("force") == "true"
    is_adoption = request.method == hdrs.METH_PUT and request.path == LOG_PATH
    return Access.OPERATOR if is_forced or is_adoption else Access.INTERNAL


def registry_app(registry: Registry) -> web.Application:
    """Make an app of `registry` alone."""
    app = web.Application(middlewares=[problems, access_control(registry.policy, access_of)])
    app.add_routes(registry_routes(registry))
    return app
