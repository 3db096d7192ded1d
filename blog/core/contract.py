"""Service: what an author writes, as plain data. No HTTP library, no I/O, no clock in here.

A service is made of four verbs: commands decide, reactions follow, views show, queries answer. All
handlers are plain functions; their parameters are filled by name and annotation (see `Service`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_type_hints

from blog.core.events import Event
from blog.core.ids import new_id
from blog.core.instance import Route
from blog.core.settings import ServiceSettings
from blog.core.view import View

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
R = TypeVar("R")
Kind = Literal["command", "query", "stream"]


@dataclass(frozen=True, slots=True)
class Meta:
    """What a handler may know of the request beside its input.

    `author_hash` is the SHA-256 of the writer's `Blog-Author-Token` in hexadecimal, None without
    one. `new_id()` makes ids; with an `Idempotency-Key` the same request makes the same ids.
    """

    request_id: str
    now: datetime
    author_hash: str | None = None
    new_id: Callable[[], str] = new_id


class Append(NamedTuple):
    """Events that a command decided on, and the sequence it decided at (for `expectedsequence`)."""

    events: Sequence[Event]
    expect: int | None = None


class Page(NamedTuple):
    """One page of rows. `next` holds the query parameters of the page after it, None on the last."""

    content: Any
    next: Mapping[str, str] | None = None


class ServerSent(NamedTuple):
    """One server-sent event (WHATWG HTML §9.2): `data` is rendered as JSON."""

    event: str
    data: Any
    id: str | None = None


class Applied(NamedTuple):
    """An event that this instance's view has applied, and where the log has it."""

    sequence: int
    event: Event


class Changes(Protocol):
    """What a stream handler gets as `changes`: the view's events as they are applied, from now on."""

    def __aiter__(self) -> AsyncIterator[Applied]:
        """Iterate over what the view applies from now on; ends when the instance drains."""
        ...

    def read(self, method: Callable[..., R], *args: Any) -> Awaitable[R]:
        """Call a reading method of the view, for instance `read(QueryView.comment, id)`."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler behind a public route. `answer` makes a command's answer from its event.

    `location` is where what a command made is found: a template of the event's fields.
    """

    kind: Kind
    route: Route
    handler: Handler
    answer: Callable[[Any, Meta], Any] | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """A handler behind an event type."""

    event: type[Event]
    handler: Handler


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the blog: a name, handlers, and at most one view and one settings class.

    Handlers' parameters are filled so: path parameters by name; one pydantic model from the JSON
    body (commands); other names from the query string (queries, with defaults); `view`, `meta`,
    `changes` (streams); and any parameter annotated with the service's `settings` class.
    """

    name: str
    view: type[View] | None = None
    settings: type[ServiceSettings] | None = None
    endpoints: list[Endpoint] = field(default_factory=list)
    reactions: dict[str, Reaction] = field(default_factory=dict)

    def command(
        self,
        method: str,
        *patterns: str,
        answer: Callable[[Any, Meta], Any] | None = None,
        location: str | None = None,
    ) -> Callable[[H], H]:
        """Declare a command: request → decision → event(s), answered after the log has them.

        The answer is `answer(event, meta)`, or the event's data, of the first event.

        It returns an event, a list of events (`[]` → 204) or `Append`, or raises a `DomainError`.
        """
        return self._endpoint("command", method, patterns, answer, location)

    def query(self, method: str, *patterns: str) -> Callable[[H], H]:
        """Declare a query: request → rows → answer (model, list, dict or `Page`)."""
        return self._endpoint("query", method, patterns)

    def stream(self, method: str, *patterns: str) -> Callable[[H], H]:
        """Declare a stream: an async generator of `ServerSent`, ended when the instance drains."""
        return self._endpoint("stream", method, patterns)

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

    @property
    def routes(self) -> tuple[Route, ...]:
        """The public routes, as the instance announces them."""
        return tuple(endpoint.route for endpoint in self.endpoints)

    def _endpoint(
        self,
        kind: Kind,
        method: str,
        patterns: Sequence[str],
        answer: Callable[[Any, Meta], Any] | None = None,
        location: str | None = None,
    ) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            for pattern in patterns:
                route = Route(method=method, pattern=pattern)
                if route in self.routes:
                    raise TypeError(f"service {self.name} declares {method} {pattern} twice")
                self.endpoints.append(Endpoint(kind, route, handler, answer, location))
            return handler

        return declare
