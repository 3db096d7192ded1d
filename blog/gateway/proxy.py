"""Proxy: joins a client's connection to an instance's. Route → turn → send → retry or stream back.

What may be sent again is decided in `retry`, who gets it in `turns`; bytes are moved here.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDict

from blog.core.errors import (
    BadGateway,
    BlogError,
    GatewayTimeout,
    MethodNotAllowed,
    NoRoute,
    Unavailable,
)
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.gateway.body import Body
from blog.gateway.cuts import Cut, Cuts
from blog.gateway.headers import SERVED_BY_HEADER, Client, to_client, to_instance
from blog.gateway.retry import is_repeatable
from blog.gateway.routing import Match, NoSuchMethod, NoSuchPath
from blog.gateway.turns import Turns
from blog.gateway.upstream import Answer, Broken, NeverSent, Outgoing, Upstream
from blog.http.limits import ANSWER_TIMEOUT, HELD_LIMIT

_AGAIN: dict[str, str] = {hdrs.RETRY_AFTER: "1"}
_EVENT_STREAM = "text/event-stream"

log = get_logger()


class Trace(NamedTuple):
    """What names a request everywhere it goes: fields to pass on, and whether it was in a trace."""

    fields: Mapping[str, str]
    is_continued: bool


class Served(NamedTuple):
    """An answer on its way to the client, and who gave it."""

    response: web.StreamResponse
    instance: Instance


class Proxy:
    """Sends requests to instances. `streaming()` counts an answer that ends only when cut."""

    def __init__(
        self,
        turns: Turns,
        upstream: Upstream,
        *,
        names_instance: bool,
        answer_timeout: float = ANSWER_TIMEOUT,
        streaming: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._turns = turns
        self._upstream = upstream
        self._names_instance = names_instance
        self._answer_timeout = answer_timeout
        self._streaming = streaming
        self._streams = Cuts()

    def end_streams(self) -> None:
        """End every event stream, cleanly: the gateway drains."""
        self._streams.cut(_EVENT_STREAM)

    def route(self, method: str, path: str) -> Match:
        """Find the service. Raises NoRoute or MethodNotAllowed."""
        match self._turns.routes.router.match(method, path):
            case NoSuchPath():
                raise NoRoute(f"Nobody here answers at {path[:200]}.")
            case NoSuchMethod(allowed=allowed):
                methods = ", ".join(allowed)
                raise MethodNotAllowed(f"Allowed here: {methods}.", headers={hdrs.ALLOW: methods})
            case Match() as found:
                return found

    async def serve(
        self, request: web.Request, target: str, trace: Trace, finish: Callable[[CIMultiDict[str]], None]
    ) -> Served:
        """Answer `request` by an instance. `finish` may change the headers that the client gets.

        Raises NoRoute, MethodNotAllowed, Unavailable, BadGateway, GatewayTimeout, TooLarge, Malformed.
        """
        found = self.route(request.method, target.partition("?")[0])
        self._turns.began()
        body = Body(request)
        repeatable = is_repeatable(request.method, request.headers)
        await body.keep(is_repeatable=repeatable)
        client = Client(request.remote or "unknown", request.scheme, request.headers.get(hdrs.HOST, ""))
        headers = to_instance(
            request.headers,
            client,
            {**trace.fields, **body.headers()},
            in_trace=trace.is_continued,
        )
        exchange = Exchange(request.method, target, headers, body, repeatable)
        instance, answer, whole = await self._answer(found.service, exchange)
        async with answer:
            named = f"{instance.service}/{instance.id}"
            additions = {SERVED_BY_HEADER: named} if self._names_instance else {}
            head = to_client(answer.headers, additions)
            finish(head)
            response = await self._pass_on(request, answer, head, whole)
        return Served(response, instance)

    async def _answer(self, service: str, exchange: "Exchange") -> tuple[Instance, Answer, bytes | None]:
        """Ask one instance after the other, as far as that is allowed, until one answers."""
        tried: set[str] = set()
        failure: BlogError | None = None
        while instance := self._turns.next(service, tried):
            tried.add(instance.id)
            try:
                return instance, *await self._attempt(instance, exchange)
            except NeverSent as error:
                self._turns.not_reached(instance, error)
                failure = _unavailable(service)
                can_repeat = True
            except Broken as error:
                self._turns.broke(instance, error.why)
                failure = BadGateway(f"The instance of {service} broke off.", service=service)
                can_repeat = exchange.is_repeatable and self._turns.may_repeat()
            if not (can_repeat and exchange.body.can_be_sent()):
                break
        raise failure or _unavailable(service)

    async def _attempt(self, instance: Instance, exchange: "Exchange") -> tuple[Answer, bytes | None]:
        """Ask one instance; return its answer, with the body if that is held until it is whole.

        Waiting for something that may be asked of another is cut when the instance is in doubt.
        """
        try:
            async with self._waiting(instance, exchange):
                answer = await self._upstream.ask(instance, exchange.outgoing())
                try:
                    held = answer.length is not None and answer.length <= HELD_LIMIT
                    whole = await answer.read() if held else None
                except BaseException:
                    answer.close()
                    raise
        except Cut:
            raise Broken("it is suspect or lost, and has not answered") from None
        except Broken:
            if exchange.body.error is not None:
                raise exchange.body.error from None
            raise
        except TimeoutError:
            self._turns.broke(instance, "it did not answer in time")
            raise GatewayTimeout(
                f"{instance.service} did not answer within {self._answer_timeout:g} s.",
                service=instance.service,
            ) from None
        self._turns.answered(instance, answer.status)
        return answer, whole

    def _waiting(self, instance: Instance, exchange: "Exchange") -> AbstractAsyncContextManager[object]:
        """Wait so long for the answer; what can be asked only once has nothing to gain from a cut."""
        if exchange.is_repeatable and exchange.body.can_be_sent():
            return self._turns.waiting.waiting(instance.id, self._answer_timeout)
        return asyncio.timeout(self._answer_timeout)

    async def _pass_on(
        self, request: web.Request, answer: Answer, head: CIMultiDict[str], whole: bytes | None
    ) -> web.StreamResponse:
        """Send the answer to the client: at once when it is whole, else as it comes."""
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=head)
        if whole and request.method != hdrs.METH_HEAD:
            head.popall(hdrs.CONTENT_LENGTH, None)
            return web.Response(status=answer.status, reason=answer.reason, headers=head, body=whole)
        await response.prepare(request)
        if whole is not None:
            return response
        if answer.headers.get(hdrs.CONTENT_TYPE, "").startswith(_EVENT_STREAM):
            await self._stream_events(request, answer, response)
        else:
            await self._stream(request, answer, response)
        return response

    async def _stream_events(
        self, request: web.Request, answer: Answer, response: web.StreamResponse
    ) -> None:
        """Stream until the instance ends it, or this gateway does."""
        try:
            with self._streaming():
                async with self._streams.waiting(_EVENT_STREAM):
                    await self._stream(request, answer, response)
        except Cut:
            log.info("stream.ended", path=request.path)

    @staticmethod
    async def _stream(request: web.Request, answer: Answer, response: web.StreamResponse) -> None:
        """Stream with back-pressure. When the instance breaks off, so do we: never a clean end."""
        try:
            async for chunk in answer.chunks():
                await response.write(chunk)
        except Broken as error:
            log.warning("upstream.broke", path=request.path, why=error.why)
            abort(request)


class Exchange(NamedTuple):
    """A request, as it can be sent again and again."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: Body
    is_repeatable: bool

    def outgoing(self) -> Outgoing:
        """Return it for one attempt."""
        return Outgoing(self.method, self.target, self.headers, self.body.content())


def abort(request: web.Request) -> None:
    """Break the client's connection off, so that it cannot take what it has for the whole."""
    if request.transport is not None:
        request.transport.abort()


def _unavailable(service: str) -> Unavailable:
    return Unavailable(
        f"No instance of {service} can be reached now; try again.",
        headers=_AGAIN,
        service=service,
    )
