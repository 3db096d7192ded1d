"""Known services: how many instances of each service a registry knew, kept over its restart, in order.

It is a hint of what has to come back: where it cannot be used, a restart takes a few seconds more.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from blog.core.files.atomic import write_atomically
from blog.core.instance import MAX_COUNT, ServiceName
from blog.core.logs import get_logger

SERVICES = "services"
"""In the folder of the process that has the registry."""

_counts: TypeAdapter[dict[ServiceName, int]] = TypeAdapter(
    dict[ServiceName, Annotated[int, Field(ge=0, le=MAX_COUNT)]]
)

_NEXT = "let this user write there; until then the gateway does not know after a restart what to wait for"

_UNREADABLE = "after this start it is not known what to wait for; the file is written again"

log = get_logger()


def read_services(path: Path) -> dict[str, int]:
    """Return what `services_writer` wrote; nothing where that is missing or cannot be read."""
    try:
        return _counts.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        log.warning("known_services.unreadable", path=str(path), reason=reason, next=_UNREADABLE)
    return {}


def services_writer(path: Path) -> Callable[[Mapping[str, int]], None]:
    """Return what writes counts to `path` when they, or their order, have changed.

    It does not wait for the disk: after a power cut there may be older counts.
    """
    written: list[tuple[str, int]] | None = None

    def write(counts: Mapping[str, int]) -> None:
        nonlocal written
        if list(counts.items()) == written:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(counts), is_durable=False)
        except OSError as error:
            if written is None:
                log.warning("known_services.not_saved", path=str(path), reason=str(error), next=_NEXT)
        written = list(counts.items())

    return write
