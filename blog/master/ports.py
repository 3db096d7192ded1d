"""Ports that a blog listens on, public and admin, and the token that its admin APIs require."""

import errno
import os
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from blog.core.errors import SettingsError
from blog.core.files.atomic import write_atomically
from blog.core.logs import get_logger
from blog.core.net.address import Address, AddressError
from blog.core.net.bound_port import BoundPort, bind
from blog.core.settings import Settings
from blog.core.tokens import is_short_token, new_token, parse_tokens, read_token_file

log = get_logger()

TOKEN = "token"  # noqa: S105 - a file name
"""In the run folder: the token that the admin APIs require."""
TOKEN_MODE = 0o600


def with_token(settings: Settings, path: Path, *, is_in_use: bool) -> Settings:
    """Use the token of the settings, else that of the file; make one if there is none.

    One that an older version has kept may be too short by now: it is replaced, unless it `is_in_use`.
    Raises SettingsError when the file holds no token.
    """
    if settings.token is None:
        if not path.exists():
            write_atomically(path, new_token(), mode=TOKEN_MODE)
        elif not is_in_use and is_short_token(path):
            log.warning("token.replaced", path=str(path), reason="it is shorter than a token has to be")
            write_atomically(path, new_token(), mode=TOKEN_MODE)
        return settings.model_copy(update={"token": SecretStr(read_token_file(path, "token"))})
    write_atomically(path, settings.token.get_secret_value(), mode=TOKEN_MODE)
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
    """Return the token to send to the blog that runs, or ran, in `data_dir`; None when there is none.

    Raises SettingsError when its file holds no token.
    """
    return next(iter(known_tokens(data_dir)), None)


def known_tokens(data_dir: Path) -> tuple[str, ...]:
    """Return every token that the blog in `data_dir` accepts. Raises SettingsError as `known_token`."""
    path = data_dir / "run" / TOKEN
    return parse_tokens(read_token_file(path, "token")) if path.exists() else ()
