"""Address: what others should dial, and what to set when that does not work. Pure."""

from ipaddress import IPv6Address, ip_address

_SET = "set BLOG_ADVERTISE to the host:port that others can dial"


def guess(bound: str, local: str) -> str:
    """Return the address to announce: the local end of the connection to the registry.

    `bound` is the host:port that the instance listens on, `local` the host of that end. Who listens
    on one address of the network only, is there and nowhere else.
    """
    host, _, port = bound.rpartition(":")
    host = host.strip("[]")
    listens = ip_address(host)
    chosen = local if listens.is_unspecified or listens.is_loopback else host
    return joined(chosen, port)


def joined(host: str, port: str) -> str:
    """Write `host:port`: IPv6 in brackets, and IPv4 that came as IPv6 as what it is."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"{host}:{port}"
    if isinstance(address, IPv6Address):
        return f"{address.ipv4_mapped}:{port}" if address.ipv4_mapped else f"[{address}]:{port}"
    return f"{address}:{port}"


def advice(tried: str, peer: str) -> str:
    """Say what to set after the dial-back to `tried` failed, for an instance that comes from `peer`."""
    host, _, port = tried.rpartition(":")
    host = host.strip("[]")
    try:
        address, seen = ip_address(host), ip_address(peer)
    except ValueError:  # a name, or nothing is known of where it comes from
        return _SET
    if address.is_loopback and not seen.is_loopback:
        return (
            f"{host} is only for the registry's own machine, and you come from {peer}: listen for others"
            f" (BLOG_HOST=0.0.0.0) and set BLOG_ADVERTISE={joined(peer, port)}"
        )
    if address.is_link_local and address.version == 6:  # noqa: PLR2004 - IPv6
        return f"{host} means another machine on every link: {_SET}, by an address that is routed"
    if address != seen and not seen.is_loopback:
        return f"you come from {peer}: with NAT between, forward port {port} there and {_SET}"
    return f"listen for others (BLOG_HOST=0.0.0.0), let port {port} through, or {_SET}"
