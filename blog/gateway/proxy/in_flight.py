"""In flight: what the proxy needs of a request while it is with an upstream. Types only."""

from typing import Protocol

from blog.gateway.upstream.upstreams import Upstream


class InFlightRequest(Protocol):
    """A request that was sent, or will be."""

    @property
    def upstream(self) -> Upstream | None:
        """The upstream that has it now."""
        ...

    @property
    def deadline(self) -> float:
        """Monotonic seconds at which it has taken too long."""
        ...

    def time_out(self) -> None:
        """Respond, or close: the deadline has passed."""

    def upstream_suspected(self) -> None:
        """Try another upstream, where that is allowed: this one is suspect or lost."""

    def end_stream(self) -> None:
        """End a response that does not end by itself: the gateway drains."""
