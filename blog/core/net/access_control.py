"""Access control: the middleware that asks the policy about each request to a port inside a blog."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.net.peer import peer_of


def access_control(policy: AccessPolicy, access_of: Callable[[web.Request], Access]) -> Middleware:
    """Make the middleware that lets `policy` check each request; `access_of` says what it asks for."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = "" if resource is None else resource.canonical
        policy.check(access_of(request), peer=peer_of(request), headers=request.headers, route=route)
        return await handler(request)

    return check
