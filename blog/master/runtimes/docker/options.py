"""Container options: what the container of a replica is created with. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.types import LogConfig, Mount

from blog.core.net.address import Address
from blog.core.settings import PREFIX, Settings, without_token
from blog.master.programs import BUS, GATEWAY

NAME, DATA_DIR = "blog.name", "blog.data_dir"
"""Labels: the blog that a container belongs to."""
SERVICE, REPLICA = "blog.service", "blog.copy"
"""Labels: service and replica. Containers of earlier versions have them too."""

LOOPBACK = "127.0.0.1"
_PUBLIC, _ADMIN = "8080/tcp", "4000/tcp"
# the image sets where to listen and where its data is; the others concern only the master
_EXCLUDED = (
    *("HOST", "PORT", "ADVERTISE", "PUBLIC_PORT", "ADMIN_PORT", "DATA_DIR", "EMBED_REGISTRY"),
    *("NAME", "IMAGE"),
)


def options(
    settings: Settings, service: str, name: str, labels: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return the arguments of `docker.containers.create` for a replica; `labels` are the blog's."""
    return {
        "name": f"{settings.name}-{name}",
        "image": settings.image,
        "command": [service],
        "labels": {**labels, SERVICE: service, REPLICA: name},
        "environment": environment(settings, environ),
        "network": settings.name,
        "log_config": LogConfig(type="json-file", config={"max-size": "16m", "max-file": "2"}),
        "mounts": _mounts(settings, service),
        "ports": ports(settings) if service == GATEWAY else {},
        # as deploy/compose.yaml has it
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": {"/tmp": ""},  # noqa: S108 - the container's
    }


def volume(settings: Settings) -> str:
    """Return the name of the volume that holds the bus's log."""
    return f"{settings.name}-log"


def ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """Publish the public port; the admin port for the master and `blog ps`, never beyond BLOG_HOST.

    The container's own address would do for the master, but it can be reached on Linux only, and changes
    with every restart of the gateway.
    """
    # the engine takes addresses only, no names
    host = LOOPBACK if settings.host == "localhost" else settings.host
    public, admin = Address.of(host, settings.public_port), Address.of(host, settings.admin_port)
    return {_PUBLIC: public, _ADMIN: admin.local}


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the `BLOG_…` variables of `environ`, without those that are about this machine."""
    excluded = {PREFIX + name for name in _EXCLUDED}
    passed = {
        name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in excluded
    }
    inside = {name: f"/tls/{name}/{path.name}" for name, path in _tls(settings).items()}
    own = {
        # by the container's name: another container in the network may be called `gateway`
        "REGISTRY": f"http://{settings.name}-{GATEWAY}-1:4000",
        **inside,
    }
    if settings.token is not None:
        own["TOKEN"] = settings.token.get_secret_value()
    return without_token(passed) | {PREFIX + name: value for name, value in own.items()}


def _mounts(settings: Settings, service: str) -> list[Mount]:
    """Mount the bus's volume; for the gateway the folder of its certificate, where it may be renewed."""
    if service == BUS:
        return [Mount("/data", volume(settings), type="volume")]
    if service == GATEWAY:
        return [
            Mount(f"/tls/{name}", str(path.resolve().parent), type="bind", read_only=True)
            for name, path in _tls(settings).items()
        ]
    return []


def _tls(settings: Settings) -> dict[str, Path]:
    paths = {"TLS_CERT": settings.tls_cert, "TLS_KEY": settings.tls_key}
    return {name: path for name, path in paths.items() if path is not None}
