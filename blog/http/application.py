"""Application: what a door asks of whoever answers its requests. Types only."""

from typing import TYPE_CHECKING, Protocol

from blog.core.errors import BlogError
from blog.http.heads import RequestHead

if TYPE_CHECKING:
    from blog.http.server import ServerConnection


class Handler(Protocol):
    """A request that is being answered: what its connection tells it."""

    def body_data(self, data: bytes) -> None:
        """Take a piece of the request's body."""

    def body_ended(self) -> None:
        """Take note that the body is whole."""

    def body_failed(self, error: BlogError) -> None:
        """Take note that the rest of the body cannot be read; the connection ends with the answer."""

    def client_paused(self) -> None:
        """Stop writing: the client does not read as fast."""

    def client_resumed(self) -> None:
        """Go on writing."""

    def client_gone(self) -> None:
        """Give up: there is nobody to answer to."""


class Application(Protocol):
    """What answers the requests of a door."""

    def begin(self, connection: "ServerConnection", head: RequestHead) -> Handler:
        """Begin to answer; `connection.finish()` or `abort()` is called in the end, maybe at once."""
        ...

    def refuse(self, connection: "ServerConnection", error: BlogError) -> None:
        """Answer what is no request; the connection closes after it."""
