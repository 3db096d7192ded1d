"""Pages and actions: templates, forms, cookies, and the headers that keep other sites out."""

import inspect
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError
from yarl import URL

from blog.core.contract import AUTHOR_COOKIE, Asset, Endpoint, Html, Redirect
from blog.core.errors import BlogError, Forbidden, Malformed, status_of
from blog.core.logs import get_logger
from blog.core.web import AUTHOR_HEADER, UNEXPECTED, invalid, read_body
from blog.runtime.assets import send, version_of
from blog.runtime.binding import ArgumentSource, Binding, bind
from blog.runtime.handler_context import HandlerContext
from blog.runtime.refusals import ReadOnlyPeers, refusal_of

FORM_TYPE = "application/x-www-form-urlencoded"
ERROR_TEMPLATE = "error.html"
MAX_FIELDS = 50
COOKIE_AGE = 365 * 24 * 3600
"""Seconds that a browser keeps our cookies."""

SECURITY_HEADERS = {
    # CSP level 3: only our own files; nothing inline, no frames, forms only to us
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self';"
    " style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # with no-referrer browsers would send `Origin: null` with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FORWARDED_HOST, _FORWARDED_PROTO = "X-Forwarded-Host", "X-Forwarded-Proto"
_MAX_TOKEN = 256

log = get_logger()


class PageHandler:
    """Renders the pages of one service from the folders `templates` and `static` beside its code."""

    def __init__(self, context: HandlerContext, endpoint: Endpoint) -> None:
        self._context = context
        self._binding = bind(endpoint)
        self._is_action = endpoint.kind == "action"
        folder = Path(inspect.getfile(inspect.unwrap(endpoint.handler))).parent
        self._static = folder / "static"
        self._templates = _environment(folder)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Respond to one request; errors are pages as well."""
        return await self._handle(request)

    async def handle_rejected(self, request: web.Request) -> web.StreamResponse:
        """Respond to one that the gateway rejects: as to any other, but nothing is written."""
        return await self._handle(request, refusal_of(request))

    async def _handle(self, request: web.Request, refusal: BlogError | None = None) -> web.StreamResponse:
        try:
            self._context.must_be_open()
            return await self._respond(request, refusal)
        except BlogError as error:
            return self._show_error(error)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("page.failed", method=request.method, path=request.path)
            return self._show_error(BlogError(UNEXPECTED))

    async def _respond(self, request: web.Request, refusal: BlogError | None) -> web.StreamResponse:
        match await self._context.call(self._binding, request, await self._given(request, refusal)):
            case Html(template, context, status):
                headers = refusal.headers if refusal and status == status_of(refusal) else {}
                return self._render(template, context, status, headers)
            case Redirect() as redirect:
                return _redirect(redirect, is_secure=request.headers.get(_FORWARDED_PROTO) == "https")
            case Asset() as asset:
                response = send(request, self._static, asset)
                response.headers.update(SECURITY_HEADERS)
                return response
            case other:
                raise TypeError(f"a page returned {other!r}")

    async def _given(self, request: web.Request, refusal: BlogError | None) -> dict[ArgumentSource, Any]:
        """Return what the handler is called with. Raises `refusal` if the handler would not notice it."""
        meta = self._context.meta(request, _author(request))
        given: dict[ArgumentSource, Any] = {ArgumentSource.META: meta}
        if self._is_action:
            require_same_origin(request.headers, request.host)
            given |= await _form(self._binding, request)
        if refusal is not None:
            if not self._binding.has(ArgumentSource.PEERS):
                raise refusal
            given[ArgumentSource.PEERS] = ReadOnlyPeers(self._context.peers(request, meta), refusal)
        return given

    def _show_error(self, error: BlogError) -> web.Response:
        status = status_of(error)
        context = {"status": status, "title": HTTPStatus(status).phrase, "detail": error.detail}
        return self._render(ERROR_TEMPLATE, context, status, error.headers)

    def _render(
        self, template: str, context: Mapping[str, Any], status: int, more: Mapping[str, str]
    ) -> web.Response:
        text = self._templates.get_template(template).render(context)
        headers = SECURITY_HEADERS | {
            # the author of a comment sees more of it than others
            hdrs.CACHE_CONTROL: "private, no-cache",
            hdrs.VARY: hdrs.COOKIE,
            **more,
        }
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)


def page(context: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of a page or an action."""
    return PageHandler(context, endpoint).handle


def refused_page(context: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of an action's requests that the gateway rejects."""
    return PageHandler(context, endpoint).handle_rejected


def require_same_origin(headers: Mapping[str, str], host: str) -> None:
    """Let in only what our own pages send, and clients that are not browsers. Raises Forbidden.

    `Sec-Fetch-Site` (W3C Fetch Metadata §2.3) decides; browsers without it send `Origin` (RFC 6454
    §7), which has to name the requested host. A client that sends neither has no cookies of a reader.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        origin = headers.get(hdrs.ORIGIN)
        is_ours = origin is None or _netloc(origin) == headers.get(_FORWARDED_HOST, host).lower()
    if not is_ours:
        raise Forbidden("This form was sent from another site.")


def _netloc(origin: str) -> str | None:
    scheme, separator, rest = origin.lower().partition("://")
    return rest if separator and scheme in ("http", "https") else None


def _author(request: web.Request) -> str | None:
    """Return the author's token, from the header or the cookie; None if it is not one of ours."""
    token = request.headers.get(AUTHOR_HEADER) or request.cookies.get(AUTHOR_COOKIE) or ""
    return token if token.isascii() and token.isprintable() and 0 < len(token) <= _MAX_TOKEN else None


async def _form(binding: Binding, request: web.Request) -> dict[ArgumentSource, Any]:
    """Read the form (WHATWG URL §5.1) as the handler's model. Raises Malformed or Invalid."""
    if binding.body is None:
        return {}
    body = await read_body(request, FORM_TYPE)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Malformed("The form is not valid UTF-8, or has too many fields.") from None
    return {ArgumentSource.BODY: _model(binding.body, pairs)}


def _model(model: type[BaseModel], pairs: list[tuple[str, str]]) -> BaseModel:
    try:
        # browsers end lines with CRLF (WHATWG HTML §4.10.22.4); nobody else here does
        return model.model_validate({name: value.replace("\r\n", "\n") for name, value in pairs})
    except ValidationError as error:
        raise invalid(error) from None


def _redirect(redirect: Redirect, *, is_secure: bool) -> web.Response:
    response = web.Response(
        status=HTTPStatus.SEE_OTHER,
        headers=SECURITY_HEADERS | {hdrs.LOCATION: str(URL(redirect.to)), hdrs.CACHE_CONTROL: "no-store"},
    )
    for name, value in redirect.cookies.items():
        response.set_cookie(
            name, value, max_age=COOKIE_AGE, httponly=True, samesite="Lax", secure=is_secure
        )
    return response


@cache
def _environment(folder: Path) -> jinja2.Environment:
    """Make the environment: output is escaped unless it is Markup; a missing name is an error.

    `static_version` is part of the paths of static files.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static_version"] = version_of(folder / "static")
    return environment
