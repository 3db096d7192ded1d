"""Admin API: the registry's API where it is embedded, and what the gateway knows. Never published."""

from aiohttp import web

from blog.core.logs import get_logger
from blog.core.net.address import Address, AddressError
from blog.core.settings import Settings
from blog.core.web import problems, requires_token
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.collector import StatsCollector
from blog.http.limits import BODY_LIMIT
from blog.registry.app import registry_routes
from blog.registry.server.service import Registry

_ADVICE = "anyone in this network can join and read; set BLOG_TOKEN, the same for every process"
_OPEN = ("/healthz", "/readyz")

log = get_logger()


def admin_app(settings: Settings, registry: Registry | None) -> web.Application:
    """Make the app; everything but the probes requires the token."""
    app = web.Application(
        middlewares=[
            problems,
            requires_token(settings.secret, lambda request: request.path not in _OPEN),
        ],
        client_max_size=BODY_LIMIT,
    )
    if settings.secret is None and not _is_loopback(settings):
        log.warning("admin.unprotected", host=settings.host, next=_ADVICE)
    if registry is not None:
        app.add_routes(registry_routes(registry))
    return app


def show_routes(table: RouteTable) -> web.RouteDef:
    """Make `GET /v1/routes`: every route with its service, and the conflicts."""

    async def show(_: web.Request) -> web.Response:
        router = table.router
        return web.json_response(
            {
                "routes": [
                    {"method": method, "pattern": match.pattern, "service": match.service}
                    for method, match in router.routes()
                ],
                "conflicts": [conflict._asdict() for conflict in router.conflicts],
            }
        )

    return web.get("/v1/routes", show)


def show_stats(collector: StatsCollector) -> web.RouteDef:
    """Make `GET /v1/stats`: the numbers per service, as JSON, for autoscaling."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=collector.total().model_dump_json(), content_type="application/json")

    return web.get("/v1/stats", show)


def _is_loopback(settings: Settings) -> bool:
    try:
        return Address.of(settings.host, settings.admin_port).is_loopback
    except AddressError:
        return False
