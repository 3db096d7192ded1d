"""Known log: the identity of the blog's log, kept over restarts next to the registry that knows it."""

from collections.abc import Callable
from pathlib import Path

from blog.core.files.atomic import write_atomically
from blog.core.files.data_dir import unusable
from blog.core.logs import get_logger
from blog.core.net.access_policy import AccessPolicy
from blog.core.settings import Settings
from blog.gateway.known_services import SERVICES, read_services, services_writer
from blog.lifecycle.lifecycle import Lifecycle
from blog.registry.server.service import Registry

LOG_ID = "log-id"
"""In the folder of the process that has the registry."""

_NEXT = "let this user write there; until then the gateway accepts any log after a restart"

log = get_logger()


def registry_of(name: str, settings: Settings, lifecycle: Lifecycle) -> Registry:
    """Make the registry that runs in the process `name`, with what was known there before."""
    path = settings.data_dir / name / LOG_ID
    services = settings.data_dir / name / SERVICES
    return Registry(
        clock=lifecycle.clock,
        policy=AccessPolicy(settings.tokens),
        known_log=_read(path),
        remember_log=_log_id_writer(path),
        known_services=read_services(services),
        remember_services=services_writer(services),
    )


def read_log_id(path: Path) -> str | None:
    """Return the identity at `path`, in a folder of the data directory; None when there is none yet.

    It is the first line; a later version may write more lines.

    Raises SettingsError when it is there and cannot be read: else any log would be accepted.
    """
    known = _read(path)
    return known.partition("\n")[0] if known is not None else None


def _read(path: Path) -> str | None:
    """Return all that is known of the log (`LogIdentity`), line by line. Raises SettingsError."""
    try:
        return "\n".join(line.strip() for line in path.read_text().strip().split("\n")) or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unusable(path.parent.parent, path, error) from None


def write_log_id(path: Path, identity: str) -> None:
    """Write what is known of a log, or its identity alone, to `path`, with its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, identity + "\n")


def _log_id_writer(path: Path) -> Callable[[str], None]:
    """Return what writes an identity to `path`. Where that fails, the registry knows it until it ends."""

    def write(identity: str) -> None:
        try:
            write_log_id(path, identity)
        except OSError as error:
            log.warning("log_id.not_saved", path=str(path), reason=str(error), next=_NEXT)

    return write
