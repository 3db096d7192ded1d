"""Address: what an instance announces as its address, and advice when it cannot be dialled. Pure."""

from ipaddress import IPv4Address, IPv6Address

from blog.core.net.address import Address
from blog.core.net.ip import parse_ip

_SET = "set BLOG_ADVERTISE to the host:port that others can dial"


def announced_address(bound: str, local_host: str, elsewhere: str | None = None) -> str:
    """Return the address to announce to a registry, `host:port`.

    `bound` is the address that the instance listens on, `local_host` the host of our end of the
    connection to the registry: others reach us there, unless we listen on one other address only. A
    connection to our own registry does not say it: then it is `elsewhere`, if that is known.
    """
    where = Address.parse(bound)
    if not (where.is_unspecified or where.is_loopback):
        return str(where)
    local = Address.of(local_host, where.port)
    if elsewhere is not None and where.is_unspecified and local.is_loopback:
        return str(local.with_host(elsewhere))
    return str(local)


def advice(tried: str, peer: str) -> str:
    """Return what to set after the dial-back to `tried` failed; the instance connects from `peer`."""
    try:
        where = Address.parse(tried)
        address, seen = parse_ip(where.host), parse_ip(peer)
    except ValueError:  # a name, or it is not known where the instance connects from
        return _SET
    if address.is_loopback and not seen.is_loopback:
        return (
            f"{address} is only for the registry's own machine, and you connect from {peer}: listen for"
            f" others ({_every(seen)}) and set BLOG_ADVERTISE={Address.of(peer, where.port)}"
        )
    if address.is_link_local and address.version == 6:  # noqa: PLR2004 - IPv6
        return f"{address} means another machine on every link: {_SET}, by an address that is routed"
    if address != seen and not seen.is_loopback:
        return f"you connect from {peer}: with NAT between, forward port {where.port} there and {_SET}"
    return f"listen for others ({_every(address)}), let port {where.port} through, or {_SET}"


def _every(address: IPv4Address | IPv6Address) -> str:
    """Return what to set to listen on every address of this kind; `::` is both, where there is IPv6."""
    return "BLOG_HOST=0.0.0.0" if address.version == 4 else "BLOG_HOST=::"  # noqa: PLR2004 - IPv4
