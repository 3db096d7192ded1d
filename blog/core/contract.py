"""Service: what an author writes, as plain data. No HTTP library, no I/O, no clock in here.

A service is made of four verbs: commands decide, reactions follow, views show, queries answer. All
handlers are plain functions; their parameters are filled by name and annotation (see `Service`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, get_type_hints

from blog.core.decision import ResponseBuilder
from blog.core.deprecated import renamed_fields, renamed_names, renamed_parameters
from blog.core.events import Event
from blog.core.ids import new_id
from blog.core.instance import LB_POLICY_KEY, Route
from blog.core.operator import OperatorCommand
from blog.core.peers import Peer as Peer  # noqa: PLC0414 - services know all of it from here
from blog.core.peers import PeerResponse as PeerResponse  # noqa: PLC0414
from blog.core.peers import Peers as Peers  # noqa: PLC0414
from blog.core.settings import ServiceSettings
from blog.core.view import View

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
R = TypeVar("R")
Kind = Literal["command", "query", "stream", "page", "action"]

PAGES: frozenset[Kind] = frozenset({"page", "action"})
"""Endpoints that respond with HTML."""

AUTHOR_COOKIE = "blog_author"
"""Where a browser keeps the author's token: in `meta.author_token` of pages and actions."""

_COMMAND_STATUS = {"POST": 201, "DELETE": 204}
_STATUS = {"action": 303}


@dataclass(frozen=True, slots=True)
class Meta:
    """What a handler may know of the request beside its input.

    `author_hash` is the SHA-256 of the writer's `Blog-Author-Token` in hexadecimal, None without
    one; `author_token`, the token itself, is for pages and actions only, which hand it on to peers.
    `new_id()` makes ids; with an `Idempotency-Key` the same request makes the same ids. Absolute links
    begin with `base_url`, for instance `https://blog.example`.
    """

    request_id: str
    now: datetime
    author_hash: str | None = None
    author_token: str | None = None
    new_id: Callable[[], str] = new_id
    base_url: str = ""


class Page(NamedTuple):
    """One page of rows. `next` holds the query parameters of the page after it, None on the last."""

    content: Any
    next: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Document:
    """A response that is not JSON: `class Feed(Document, content_type="application/atom+xml")`."""

    content: bytes
    content_type: ClassVar[str] = "application/octet-stream"

    def __init_subclass__(cls, *, content_type: str = "", **kwargs: Any) -> None:
        """Take the media type from the class line."""
        super().__init_subclass__(**kwargs)
        cls.content_type = content_type or cls.content_type


class ServerSent(NamedTuple):
    """One server-sent event (WHATWG HTML §9.2) with `data` as JSON; it tells of the event `sequence`."""

    event: str
    data: Any
    sequence: int | None = None


class Html(NamedTuple):
    """A page: the jinja2 template `template` of the service's folder `templates`, and what it shows."""

    template: str
    context: Mapping[str, Any] = MappingProxyType({})
    status: int = 200


class Redirect(NamedTuple):
    """See other (RFC 9110 §15.4.4): go to `to`, a path of this blog, and keep `cookies` for a year."""

    to: str
    cookies: Mapping[str, str] = MappingProxyType({})


class Asset(NamedTuple):
    """A file of the service's folder `static`, or NotFound; `version`: `static_version` in its path."""

    name: str
    version: str | None = None


class Applied(NamedTuple):
    """An event that this instance's view has applied, and where the log has it."""

    sequence: int
    event: Event


class Changes(Protocol):
    """What a stream handler gets as `changes`: the view's events, in order, each once.

    It begins now, or where the client was cut off; one that missed too much gets `reset` first.
    """

    def __aiter__(self) -> AsyncIterator[Applied]:
        """Iterate over what the view has applied; ends when the instance drains."""
        ...

    def read(self, method: Callable[..., R], *args: Any) -> Awaitable[R]:
        """Call a reading method of the view, for instance `read(QueryView.comment, id)`."""
        ...


@renamed_fields(answer="response", is_hot="is_cached")
@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler behind a public route. `response` makes the content of a command's response.

    `location` is the path of what a command made, a template of its event's fields. `is_cached`: see
    `Service.query`.
    """

    kind: Kind
    route: Route
    handler: Handler
    response: ResponseBuilder | None = None
    location: str | None = None
    is_cached: bool = False

    @property
    def status(self) -> int:
        """The HTTP status when all went well: of a command, by its method."""
        by_method = _COMMAND_STATUS if self.kind == "command" else {}
        return by_method.get(self.route.method, _STATUS.get(self.kind, 200))


@dataclass(frozen=True, slots=True)
class Reaction:
    """A handler behind an event type."""

    event: type[Event]
    handler: Handler


@renamed_fields(turn="lb_policy", values={"lb_policy": {"rotation": "round-robin"}})
@dataclass(frozen=True, slots=True)
class Service:
    """A service of the blog: a name, handlers, and at most one view and one settings class.

    Handlers' parameters are filled so: path parameters by name; one pydantic model from the JSON
    body (commands) or from the form (actions); other names from the query string (queries and
    pages, with defaults); `view`, `meta`, `changes` (streams), `peers` (async handlers without a
    view); and any parameter annotated with the service's `settings` class.
    """

    name: str
    view: type[View] | None = None
    settings: type[ServiceSettings] | None = None
    lb_policy: Literal["round-robin", "least-request"] = "round-robin"
    """How the gateway selects an instance: one after the other, or the less busy of two."""
    endpoints: list[Endpoint] = field(default_factory=list)
    reactions: dict[str, Reaction] = field(default_factory=dict)
    operators: dict[str, OperatorCommand] = field(default_factory=dict)

    @renamed_parameters(answer="response")
    def command(
        self,
        method: str,
        *patterns: str,
        response: ResponseBuilder | None = None,
        location: str | None = None,
        body_limit: int | None = None,
    ) -> Callable[[H], H]:
        """Declare a command: request → decision → event(s); the response waits until the log has them.

        Its content is `response(event, written)` of the first event, or else that event's data: 201 for
        POST, 204 without content for DELETE, else 200. `body_limit` (bytes) allows larger bodies than
        elsewhere.

        The handler returns an event, a list of events (`[]` → 204), `Append` or `Unchanged`, or raises a
        `DomainError`. With a view, a decision that appends nothing is final only when the view has the
        log's head: the handler may be called again, as it is when what an `Append` expected did not hold.
        """
        limits = {"body_limit": body_limit}
        return self._endpoint("command", method, patterns, limits, response=response, location=location)

    @renamed_parameters(hot="cache", answer_timeout="response_timeout")
    def query(
        self, method: str, *patterns: str, response_timeout: float | None = None, cache: bool = False
    ) -> Callable[[H], H]:
        """Declare a query: request → rows → response (model, list, dict, `Page` or `Document`).

        `response_timeout` (seconds) replaces the gateway's own. `cache` promises that the response
        depends only on rows, path, query string, `meta.author_hash` and `meta.base_url`: the response to
        readers without a token is then cached as bytes until the view changes.
        """
        limits = {"answer_timeout": response_timeout}  # the name on the wire
        return self._endpoint("query", method, patterns, limits, is_cached=cache)

    def stream(self, method: str, *patterns: str) -> Callable[[H], H]:
        """Declare a stream: an async generator of `ServerSent`, ended when the instance drains."""
        return self._endpoint("stream", method, patterns)

    def page(self, method: str, *patterns: str) -> Callable[[H], H]:
        """Declare a page: an async function that returns `Html`, `Redirect` or `Asset`.

        Errors are shown by the template `error.html`, with `status`, `title` and `detail`.
        """
        return self._endpoint("page", method, patterns)

    def action(self, method: str, *patterns: str) -> Callable[[H], H]:
        """Declare where a form is sent: a page, forbidden to other sites; see `blog.core.refusals`."""
        return self._endpoint("action", method, patterns, {"shows_refusals": True})

    def reaction(self, handler: H) -> H:
        """Declare a reaction to the event type that the handler's first parameter is annotated with.

        It returns the event(s) that follow, or None. It takes effect once however often it runs. A
        `DomainError` means never (dead letter), any other exception means again.
        """
        event = next(iter(get_type_hints(handler).values()), None)
        if not (isinstance(event, type) and issubclass(event, Event)):
            raise TypeError(f"reaction {handler.__name__}: annotate its first parameter with an Event")
        if event.type in self.reactions:
            raise TypeError(f"service {self.name} reacts to {event.type} twice")
        self.reactions[event.type] = Reaction(event, handler)
        return handler

    def operator(self, name: str) -> Callable[[H], H]:
        """Declare what the operator, the person who runs the blog, may do: `blog SERVICE NAME ID...`.

        The handler's first parameter is the id; `reason: Reason = None` is what `--reason` said. It
        returns what a command returns, and `Append.before` is shown before anything is done. It asks
        nobody's author token, and no public route leads to it.
        """

        def declare(handler: H) -> H:
            if name in self.operators:
                raise TypeError(f"service {self.name} declares the operator command {name} twice")
            self.operators[name] = OperatorCommand.of(name, handler)
            return handler

        return declare

    @property
    def routes(self) -> tuple[Route, ...]:
        """The public routes, as the instance announces them."""
        return tuple(endpoint.route for endpoint in self.endpoints)

    @property
    def metadata(self) -> dict[str, str]:
        """What else its instances announce."""
        return {} if self.lb_policy == "round-robin" else {LB_POLICY_KEY: self.lb_policy}

    def _endpoint(
        self,
        kind: Kind,
        method: str,
        patterns: Sequence[str],
        limits: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            for pattern in patterns:
                route = Route(method=method, pattern=pattern, **limits)
                if any((known.method, known.pattern) == (method, pattern) for known in self.routes):
                    raise TypeError(f"service {self.name} declares {method} {pattern} twice")
                self.endpoints.append(Endpoint(kind, route, handler, **options))
            return handler

        return declare


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, PeerAnswer="PeerResponse", Answer="ResponseBuilder")
