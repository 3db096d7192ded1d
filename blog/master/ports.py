"""Ports that a blog listens on, public and admin, and the token that its admin APIs require."""

import errno
import os
import secrets
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from blog.core.errors import SettingsError
from blog.core.net.address import Address, AddressError
from blog.core.net.bound_port import BoundPort, bind
from blog.core.settings import Settings

TOKEN = "token"  # noqa: S105 - a file name
"""In the run folder: the token that the admin APIs require."""


def with_token(settings: Settings, path: Path) -> Settings:
    """Use the token of the settings, else that of the file; make one if there is none."""
    if settings.token is None:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
        return settings.model_copy(update={"token": SecretStr(path.read_text().strip())})
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(settings.token.get_secret_value())
    return settings


def with_ports(settings: Settings) -> Settings:
    """Check that both ports are free; 0 becomes a free one. Raises SettingsError."""
    ports: dict[str, int] = {}
    with ExitStack() as held:  # both at once: a port that is released may be found free again
        for name in ("public_port", "admin_port"):
            where = _address(settings.host, getattr(settings, name))
            try:
                bound = held.enter_context(_bind(where, ports.values()))
            except OSError as error:
                raise SettingsError(_cannot_listen(name.upper(), where, error)) from None
            ports[name] = bound.address.port
    return settings.model_copy(update=ports)


def _address(host: str, port: int) -> Address:
    try:
        return Address.of(host, port)
    except AddressError as error:
        raise SettingsError(f"BLOG_HOST={host}: {error}.") from None


def _bind(where: Address, taken: Collection[int]) -> BoundPort:
    """Bind the port as its owner will. Raises OSError, also for one that this blog has already chosen."""
    if where.port in taken:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return bind(*where)


def _cannot_listen(setting: str, where: Address, error: OSError) -> str:
    """Name the setting to change: another port does not help if the host is not one of this machine."""
    # the errors of an unknown host have numbers of their own, which os.strerror does not know
    about_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
    name, value = (f"BLOG_{setting}", where.port) if about_port else ("BLOG_HOST", where.host)
    problem = f"cannot listen on {where}: {error.strerror or error}"
    return f"{name}={value}: {problem}; set another {name}."


def known_token(data_dir: Path) -> str | None:
    """Return the token of the blog that runs, or ran, in `data_dir`; None when there is none."""
    try:
        return (data_dir / "run" / TOKEN).read_text().strip() or None
    except FileNotFoundError:
        return None
