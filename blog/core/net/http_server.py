"""Every aiohttp server of ours: bodies are not decoded, and an error in one is an error of the client.

aiohttp alone decompresses, sends `100 Continue` before a handler has seen the head, lets a handler wait
for ever for a body whose chunks broke, and responds to what it cannot parse with text and a traceback.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy

from blog.core.errors import Malformed
from blog.core.logs import get_logger
from blog.core.net.codings import must_be_chunked, must_be_plain
from blog.core.net.peer import peer_of
from blog.core.web import EXPECTATION, expectation_failed, problem

_CONTINUE = "100-continue"

log = get_logger()


def app_runner(app: web.Application, *, shutdown_timeout: float, **options: Any) -> web.AppRunner:
    """Make what serves `app`; `options` are those of aiohttp's connections (limits).

    Requests that cannot be read are rejected after the middlewares that `app` has: the errors for another
    instance and for a missing token come first.
    """
    app.middlewares.insert(0, _must_be_text)
    app.middlewares.append(_admit)
    return _Runner(
        app,
        handle_signals=False,
        access_log=None,
        shutdown_timeout=shutdown_timeout,
        auto_decompress=False,
        **options,
    )


@web.middleware
async def _must_be_text(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject headers that are not UTF-8, as the gateway does, before any is hashed or logged."""
    try:
        for value in request.headers.values():
            if not value.isascii():
                value.encode()
    except UnicodeEncodeError:
        return problem(Malformed("A header is not valid UTF-8."))
    return await handler(request)


@web.middleware
async def _admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject what cannot be read: a content coding, another transfer coding, another expectation."""
    must_be_plain(request.headers.getall(hdrs.CONTENT_ENCODING, ()))
    must_be_chunked(request.headers.getall(hdrs.TRANSFER_ENCODING, ()))
    if request.get(EXPECTATION, _CONTINUE) != _CONTINUE:
        raise expectation_failed()
    return await handler(request)


class _Runner(web.AppRunner):
    """Serves an app over connections of ours."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=_recording_expectations(made.request_factory),
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - the options of its connections
        )


class _Server(web.Server):
    """Makes the connections. An option that aiohttp does not know is an error, not left out."""

    def __call__(self) -> RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)


class _RequestHandler(RequestHandler):
    """One connection, which ends in order when the framing of a body breaks."""

    __slots__ = ("_is_broken", "_last_body")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_broken = False
        self._last_body: Any = None
        """The body of the last request."""

    def data_received(self, data: bytes) -> None:
        """Read on; fail the body whose chunks broke, which the parser does not do."""
        if self._is_broken:
            return
        super().data_received(data)
        if not self._messages:
            return
        message, body = self._messages[-1]
        error = getattr(message, "exc", None)
        if error is None:
            self._last_body = body
        elif self._last_body is not None and not self._last_body.is_eof():
            self._messages.pop()  # the request gets one response
            self._break(error)

    def _break(self, error: Exception) -> None:
        self._is_broken = True
        self._lingering_time = 0.0  # nothing more can be read of it
        self._last_body.set_exception(web.RequestPayloadError(str(error)))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response; announce the end of the connection where it follows."""
        if self._is_broken or (EXPECTATION in request and not request.content.is_eof()):
            resp.force_close()  # a client that was not asked for its body may never send it
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to what is not a valid request with a problem, and end the connection."""
        if status >= web.HTTPInternalServerError.status_code:
            return super().handle_error(request, status, exc, message)
        log.info("request.malformed", address=peer_of(request), reason=(message or "").partition("\n")[0])
        error = Malformed("This is not a valid HTTP/1.1 request.", headers={hdrs.CONNECTION: "close"})
        response = problem(error)
        response.force_close()
        return response


def _recording_expectations(factory: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Make requests whose expectation is kept beside their headers.

    aiohttp would meet it before any handler; here that is done where the body is read, so that an error
    can come instead (RFC 9110 §10.1.1).
    """

    def make(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if hdrs.EXPECT not in message.headers:
            return factory(message, *rest)
        fields = CIMultiDict(message.headers)
        expected = ", ".join(fields.popall(hdrs.EXPECT)).lower()
        request = factory(message._replace(headers=CIMultiDictProxy(fields)), *rest)
        request[EXPECTATION] = expected
        return request

    return make
