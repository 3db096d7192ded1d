"""Access policy: who may ask for what at the ports inside a blog. With tokens, whoever has one.

Without a token there is *protected mode*: only this machine and the private networks that it is on get
a response, no web page does, and what destroys or decides is for this machine alone. Redis has the
idea and the name. The public port of the gateway is for everybody and has no policy.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from blog.core.errors import Forbidden, Unauthorized
from blog.core.net.ip import ip_of
from blog.core.net.local_networks import LocalNetworks
from blog.core.net.refusal_log import RefusalLog
from blog.core.tokens import is_authorized
from blog.core.web import BROWSER_HEADERS, PAGE_HEADERS

PROXY_HEADERS = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)
"""Of a reverse proxy: the peer is not who asks."""

# `fetch` of Node.js sends these two; a page cannot set the second, and a browser not without its others
_NODE_HEADERS = frozenset({"accept-language", "sec-fetch-mode"})
_INSTANCE = "blog-instance"


class Access(StrEnum):
    """What a request asks for."""

    PROBE = "probe"
    """`/healthz` and `/readyz`: orchestrators and load balancers have no token, and may be anywhere."""
    PUBLIC = "public"
    """A public route at an instance. The gateway sends it here for everybody."""
    INTERNAL = "internal"
    """What instances ask of each other, and what people look at."""
    OPERATOR = "operator"
    """What destroys or decides: only operators do."""


class Headers(Protocol):
    """The headers of a request, by name; the case of a name does not matter."""

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        ...

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """Return the values of a header."""
        ...


class AccessPolicy:
    """Decides about requests, by `tokens`; without any it is protected mode, by `networks`."""

    def __init__(
        self,
        tokens: Sequence[str] = (),
        networks: LocalNetworks | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_protected = not tokens
        """Whether there is no token."""
        self._tokens = tuple(tokens)
        self.networks = networks or LocalNetworks()
        """The networks whose hosts get responses in protected mode."""
        self.refusals = RefusalLog(now)
        """Where what was refused is logged, here and by what else decides about joiners."""

    def check(self, access: Access, *, peer: str, headers: Headers, route: str = "") -> None:
        """Raise Unauthorized or Forbidden where the request may not have what it asks for; log that.

        `route` is the pattern of its path: of paths there may be any number. `peer` is the IP address at
        the other end of the connection, "" if it is not known: such a request is nobody's.
        """
        try:
            if self._tokens:
                self._check_token(access, headers)
            else:
                self._check_origin(access, peer, headers)
        except (Forbidden, Unauthorized) as error:
            self.refusals.log(peer, route, error.detail)
            raise

    def is_trusted(self, peer: str) -> bool:
        """Return whether what `peer` says about others counts: it has the token, or is this machine."""
        return not self.is_protected or is_loopback(peer)

    def _check_token(self, access: Access, headers: Headers) -> None:
        if access in (Access.PROBE, Access.PUBLIC):
            return
        if not is_authorized(headers.getall("Authorization", ()), self._tokens):
            raise unauthorized()
        if access is Access.OPERATOR:
            _must_be_direct(_names_of(headers), BROWSER_HEADERS)

    def _check_origin(self, access: Access, peer: str, headers: Headers) -> None:
        names = _names_of(headers)
        # a page cannot name the instance that it means: the gateway can, and passes readers' headers on
        if access is Access.PUBLIC and _INSTANCE in names:
            self._must_be_near(peer)
            return
        page = PAGE_HEADERS if (BROWSER_HEADERS & names) == _NODE_HEADERS else BROWSER_HEADERS
        if access in (Access.PROBE, Access.PUBLIC):
            _must_not_be_page(names, page)
        else:
            _must_be_direct(names, BROWSER_HEADERS if access is Access.OPERATOR else page)
        if access is Access.OPERATOR and not is_loopback(peer):
            raise Forbidden(
                "Without a token only this machine may do that: set BLOG_TOKEN for every process, or"
                " run the command where this process runs (docker exec)."
            )
        if access is not Access.PROBE:
            self._must_be_near(peer)

    def _must_be_near(self, peer: str) -> None:
        if not is_loopback(peer) and not self.networks.contains(peer):
            raise Forbidden(
                "Without a token only this machine and its private networks get a response (protected"
                " mode): set BLOG_TOKEN, the same for every process."
            )

    def __repr__(self) -> str:
        """Show the mode, and no token."""
        mode = "protected mode" if self.is_protected else f"{len(self._tokens)} tokens"
        return f"<AccessPolicy: {mode}>"


def is_loopback(peer: str) -> bool:
    """Return whether a peer is this machine, by its loopback address."""
    address = ip_of(peer)
    return address is not None and address.is_loopback


def unauthorized() -> Unauthorized:
    """Make the error for a missing or wrong token."""
    return Unauthorized(
        "Send the token of this blog (BLOG_TOKEN) as a bearer token.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _names_of(headers: Headers) -> frozenset[str]:
    return frozenset([name.lower() for name in headers])


def _must_not_be_page(names: frozenset[str], page: frozenset[str]) -> None:
    found = page & names
    if found:
        raise Forbidden(f"Requests of web pages are refused here (they send {_shown(found)}).")


def _must_be_direct(names: frozenset[str], page: frozenset[str]) -> None:
    """Raise Forbidden for what a web page sends, or a proxy: whoever asks is elsewhere."""
    _must_not_be_page(names, page)
    found = PROXY_HEADERS & names
    if found:
        raise Forbidden(f"Requests through a proxy are refused here (they have {_shown(found)}).")


def _shown(names: frozenset[str]) -> str:
    """Return the first of these headers, as it is written."""
    return min(names).title()
