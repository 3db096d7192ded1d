"""Application: what a server needs of the code that responds to its requests. Nothing is done here."""

from typing import Protocol, TypeVar

from blog.core.errors import BlogError
from blog.http.heads import RequestHead

C_contra = TypeVar("C_contra", contravariant=True)


class Handler:
    """A request that is being handled: what its connection calls. By default a call is ignored."""

    __slots__ = ()

    def body_data(self, data: bytes) -> None:
        """Receive a piece of the request's body."""

    def body_ended(self) -> None:
        """Note that the body is complete."""

    def body_failed(self, error: BlogError) -> None:
        """Note that the rest of the body cannot be read; the connection closes after the response."""

    def client_paused(self) -> None:
        """Stop writing: the client does not read as fast."""

    def client_resumed(self) -> None:
        """Continue writing."""

    def client_gone(self) -> None:
        """Give up: there is no client to respond to any more."""


class Application(Protocol[C_contra]):
    """Responds to the requests of a server whose connections are of type `C_contra`."""

    def begin(self, connection: C_contra, head: RequestHead) -> Handler:
        """Begin to respond; `connection.finish()` or `abort()` is called in the end, maybe at once."""
        ...

    def refuse(self, connection: C_contra, error: BlogError) -> None:
        """Respond to something that is not a valid request; the connection closes after it."""
