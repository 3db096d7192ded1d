"""Failures: what is sent to a client when no upstream has responded. Each names the service."""

from blog.core.errors import BadGateway, GatewayTimeout, Unavailable

_AGAIN = {"Retry-After": "1"}


def unreachable(service: str) -> Unavailable:
    """Return the error for a request that could not be sent to any instance."""
    return Unavailable(
        f"No instance of {service} can be reached now; try again.", headers=_AGAIN, service=service
    )


def broken_off(service: str) -> BadGateway:
    """Return the error for a response that broke off."""
    return BadGateway(f"The instance of {service} closed the connection early.", service=service)


def timed_out(service: str) -> GatewayTimeout:
    """Return the error for a response that did not arrive in time."""
    return GatewayTimeout(f"{service} did not respond in time.", service=service)
