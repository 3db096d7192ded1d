"""Known services: how many instances of each service a registry knew, kept over its restart.

It is a hint of who has to come back: what cannot be read or written costs a few seconds after a restart.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from blog.core.instance import ServiceName
from blog.core.logs import get_logger

SERVICES = "services"
"""In the folder of the process that has the registry."""

_counts: TypeAdapter[dict[ServiceName, int]] = TypeAdapter(dict[ServiceName, int])

_NEXT = "let this user write there; until then the gateway does not know after a restart whom to wait for"

log = get_logger()


def recall_services(path: Path) -> dict[str, int]:
    """Read what `remember_services_at` wrote; nothing where that is missing or damaged."""
    with suppress(OSError, ValidationError):
        return _counts.validate_json(path.read_bytes())
    return {}


def remember_services_at(path: Path) -> Callable[[Mapping[str, int]], None]:
    """Return what writes counts to `path` when they have changed: the file is there whole, or not at all.

    It does not wait for the disk: after a power cut there may be an older one.
    """
    written: Mapping[str, int] | None = None

    def remember(counts: Mapping[str, int]) -> None:
        nonlocal written
        if counts == written:
            return
        try:
            _write(path, counts)
        except OSError as error:
            if written is None:
                log.warning("services.not_remembered", path=str(path), why=str(error), next=_NEXT)
        written = dict(counts)

    return remember


def _write(path: Path, counts: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(counts))
    fresh.replace(path)
