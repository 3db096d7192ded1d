"""Container options: what the container of a copy is made with. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.types import LogConfig, Mount

from blog.core.net.address import Address
from blog.core.settings import PREFIX, Settings
from blog.master.programs import BUS, GATEWAY

NAME, DATA_DIR = "blog.name", "blog.data_dir"
"""Labels: whose it is."""
SERVICE, COPY = "blog.service", "blog.copy"
"""Labels: which one it is."""

LOOPBACK = "127.0.0.1"
_PUBLIC, _ADMIN = "8080/tcp", "4000/tcp"
# the image knows where to listen and where its data is; the rest is the master's own business
_NOT_TOLD = (
    *("HOST", "PORT", "ADVERTISE", "PUBLIC_PORT", "ADMIN_PORT", "DATA_DIR", "EMBED_REGISTRY"),
    *("NAME", "IMAGE"),
)


def options(
    settings: Settings, service: str, name: str, mine: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `docker.containers.create` takes for the copy `name`; `mine` are the blog's labels."""
    return {
        "name": f"{settings.name}-{name}",
        "image": settings.image,
        "command": [service],
        "labels": {**mine, SERVICE: service, COPY: name},
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
    """Name the volume of the bus's log."""
    return f"{settings.name}-log"


def ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """Publish the public door; the inner one for the master and `blog ps`, never beyond BLOG_HOST.

    The master could also dial the container's own address, but that can be reached on Linux only, and
    changes whenever the gateway is started anew.
    """
    # the engine takes addresses only, no names
    host = LOOPBACK if settings.host == "localhost" else settings.host
    public, admin = Address.of(host, settings.public_port), Address.of(host, settings.admin_port)
    return {_PUBLIC: public, _ADMIN: admin.local}


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the `BLOG_…` variables of `environ`, but for those that mean this machine."""
    left = {PREFIX + name for name in _NOT_TOLD}
    told = {name: text for name, text in environ.items() if name.startswith(PREFIX) and name not in left}
    inside = {name: f"/tls/{name}/{path.name}" for name, path in _tls(settings).items()}
    own = {
        "TOKEN": settings.secret or "",
        # by the container's name: somebody else in the network may be called `gateway`
        "REGISTRY": f"http://{settings.name}-{GATEWAY}-1:4000",
        **inside,
    }
    return told | {PREFIX + name: text for name, text in own.items()}


def _mounts(settings: Settings, service: str) -> list[Mount]:
    """Give the bus its volume; the gateway the folders of its certificate, in which it may be renewed."""
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
