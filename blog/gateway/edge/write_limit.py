"""Write limit: what becomes of a request of a client that writes too often.

An API client gets 429. What was typed into a page's form is not lost: the form goes to its service, which
shows it again and does nothing else (`blog.core.refusals`). 429 is the one refusal of the gateway's own
where that can be had: of a body that is too large it has not read what was typed, and when no instance is
there to ask (503), none is there to show the form either.
"""

from math import ceil

from blog.core.refusals import refused_path, too_many_writes
from blog.gateway.edge.rate_limit import SAFE, RateLimiter
from blog.gateway.edge.request_context import RequestContext

_SHOWN_RATE, _SHOWN_BURST = 20, 200
"""Refusals of one client that are shown as pages: more than a person can send, less than a flood."""


class WriteLimit:
    """Goes by `rates`."""

    def __init__(self, rates: RateLimiter) -> None:
        self._rates = rates
        self._shown = RateLimiter(_SHOWN_RATE, _SHOWN_BURST, rates.buckets, name="shown ")

    def check(self, asked: RequestContext) -> None:
        """Count a write. One too many is sent on to be shown as refused, else raises TooMany."""
        if not self._rates.rate or asked.head.method in SAFE:
            return
        client = asked.client.decode()
        wait = self._rates.wait(client, asked.began)
        if not wait:
            return
        seconds = ceil(wait)
        if not asked.match.shows_refusals or self._shown.wait(client, asked.began):
            raise too_many_writes(seconds)
        asked.target = refused_path(seconds).encode() + asked.head.target

    def __repr__(self) -> str:
        """Show the limit."""
        return f"<WriteLimit: {self._rates!r}>"
