"""Admin API: the registry's API where it is embedded, and what the gateway knows. Never published."""

from aiohttp import web

from blog.core.logs import get_logger
from blog.core.net.access_control import access_control
from blog.core.net.access_policy import AccessPolicy
from blog.core.net.address import Address, AddressError
from blog.core.settings import Settings
from blog.core.web import problems
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.collector import StatsCollector
from blog.http.limits import BODY_LIMIT
from blog.registry.app import access_of, registry_routes
from blog.registry.server.service import Registry

_ADVICE = (
    "there is no token: whoever is in this private network can join and read; set BLOG_TOKEN, the same"
    " for every process"
)

log = get_logger()


def admin_app(settings: Settings, registry: Registry | None) -> web.Application:
    """Make the app; `registry` decides about requests too where it is here."""
    policy = registry.policy if registry is not None else AccessPolicy(settings.tokens)
    app = web.Application(
        middlewares=[problems, access_control(policy, access_of)], client_max_size=BODY_LIMIT
    )
    if policy.is_protected and not _is_loopback(settings):
        log.warning("admin.protected_mode", host=settings.host, next=_ADVICE)
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
