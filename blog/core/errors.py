"""Our errors, and the one table from error to HTTP status. No logic lives here.

Foreign errors become one of these at the inner edge; these become RFC 9457 problems at the outer one.
"""

from collections.abc import Mapping
from typing import Any


class BlogError(Exception):
    """Base of every error of ours. `detail` is written for the person who reads the response."""

    def __init__(
        self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions


class SettingsError(BlogError):
    """A setting is invalid, or what it names is in use; the process ends with exit code 2."""


class DomainError(BlogError):
    """A service's own rules do not allow it. Handlers raise these."""


class NotFound(DomainError):
    """It does not exist (after catching up with the log)."""


class Conflict(DomainError):
    """It changed in the meantime, or exists already."""


class Invalid(DomainError):
    """The input can be read but not accepted. `errors` lists {loc, msg} where known."""


class Forbidden(DomainError):
    """It belongs to another author, or is not allowed from where the request comes."""


class Unavailable(DomainError):
    """Something that is needed does not respond now; nothing was done, try again."""


class RequestError(BlogError):
    """The request itself is wrong, whatever the service."""


class Malformed(RequestError):
    """The bytes are not valid for what they claim to be."""


class Unauthorized(RequestError):
    """The token is missing or wrong."""


class NoRoute(RequestError):
    """No instance declares this path."""


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; the headers carry `Allow`."""


class TooLarge(RequestError):
    """The body is over the limit."""


class HeadTooLarge(RequestError):
    """The request line or the headers are over the limit."""


class UnsupportedMedia(RequestError):
    """The content type is not supported here."""


class Misdirected(RequestError):
    """The request means another instance than this one (RFC 9110 §15.5.20); nothing was processed."""


class NotSupported(RequestError):
    """The method is not implemented."""


class VersionNotSupported(RequestError):
    """Another major version of HTTP than ours."""


class ExpectationFailed(RequestError):
    """The request expects something that is not supported (RFC 9110 §10.1.1)."""


class TooSlow(RequestError):
    """The request was not complete in time (RFC 9110 §15.5.9)."""


class TooMany(RequestError):
    """Too many requests; the headers carry `Retry-After`."""


class StorageFull(BlogError):
    """The disk has no space for another event."""


class BadGateway(BlogError):
    """The response of an instance is not valid, or incomplete."""


class GatewayTimeout(BlogError):
    """An instance did not respond in time."""


STATUS: dict[type[BlogError], int] = {
    Malformed: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NoRoute: 404,
    MethodNotAllowed: 405,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedMedia: 415,
    ExpectationFailed: 417,
    Misdirected: 421,
    Invalid: 422,
    TooMany: 429,
    HeadTooLarge: 431,
    NotSupported: 501,
    BadGateway: 502,
    Unavailable: 503,
    GatewayTimeout: 504,
    VersionNotSupported: 505,
    StorageFull: 507,
}
"""The one table; what is not in it is 500."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status of `error`: that of the nearest class in `STATUS`, else 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
