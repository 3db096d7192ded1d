"""Address: what an instance announces as its address, and advice when it cannot be dialled. Pure."""

from ipaddress import ip_address

from blog.core.net.address import Address

_SET = "set BLOG_ADVERTISE to the host:port that others can dial"


def announced_address(bound: str, local_host: str) -> str:
    """Return the address to announce to a registry, `host:port`.

    `bound` is the address that the instance listens on, `local_host` the host of our end of the
    connection to the registry: others reach us there, unless we listen on one other address only.
    """
    where = Address.parse(bound)
    is_reachable = not (where.is_unspecified or where.is_loopback)
    return str(where if is_reachable else Address.of(local_host, where.port))


def advice(tried: str, peer: str) -> str:
    """Return what to set after the dial-back to `tried` failed; the instance connects from `peer`."""
    try:
        where = Address.parse(tried)
        address, seen = ip_address(where.host), ip_address(peer)
    except ValueError:  # a name, or it is not known where the instance connects from
        return _SET
    if address.is_loopback and not seen.is_loopback:
        return (
            f"{address} is only for the registry's own machine, and you connect from {peer}: listen for"
            f" others (BLOG_HOST=0.0.0.0) and set BLOG_ADVERTISE={Address.of(peer, where.port)}"
        )
    if address.is_link_local and address.version == 6:  # noqa: PLR2004 - IPv6
        return f"{address} means another machine on every link: {_SET}, by an address that is routed"
    if address != seen and not seen.is_loopback:
        return f"you connect from {peer}: with NAT between, forward port {where.port} there and {_SET}"
    return f"listen for others (BLOG_HOST=0.0.0.0), let port {where.port} through, or {_SET}"
