"""Write limit: what happens to a request of a client that writes too often.

An API client gets 429. What was typed into a page's form is not lost: the form goes to its service, which
shows it again and does nothing else (`blog.core.refusals`). That is done for 429 only: of a body that is
too large the gateway has not read what was typed, and when no instance can be reached (503), none can
show the form either.
"""

from math import ceil

from blog.core.refusals import refused_path, too_many_writes
from blog.gateway.edge.rate_limit import SAFE, RateLimiter
from blog.gateway.proxy.request_context import RequestContext

_SHOWN_RATE, _SHOWN_BURST = 20, 200
"""Refusals of one client that are shown as pages: more than a person can send, less than a flood."""


class WriteLimit:
    """Applies `rate_limiter` to requests that write."""

    def __init__(self, rate_limiter: RateLimiter) -> None:
        self._rate_limiter = rate_limiter
        self._shown = RateLimiter(_SHOWN_RATE, _SHOWN_BURST, rate_limiter.buckets, name="shown ")

    def check(self, context: RequestContext) -> None:
        """Count a write. Over the limit a form is rerouted to be shown again; else TooMany is raised."""
        if not self._rate_limiter.rate or context.head.method in SAFE:
            return
        client = context.client.decode()
        wait = self._rate_limiter.acquire(client, context.started_at)
        if not wait:
            return
        seconds = ceil(wait)
        if not context.match.shows_refusals or self._shown.acquire(client, context.started_at):
            raise too_many_writes(seconds)
        context.target = refused_path(seconds).encode() + context.head.target

    def __repr__(self) -> str:
        """Show the limit."""
        return f"<WriteLimit: {self._rate_limiter!r}>"
