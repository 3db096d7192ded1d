"""How many copies of each service should run: `blog.toml`, overruled by `--scale`, by `blog scale`."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blog.core.errors import SettingsError
from blog.master.programs import SINGLE

MAX_REPLICAS = 100
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServiceTable(_Strict):
    """`[services.NAME]`."""

    replicas: Replicas


class File(_Strict):
    """`blog.toml`."""

    services: dict[str, ServiceTable] = {}


def read(path: Path) -> dict[str, int]:
    """Read replicas from a file; none if there is no file. Raises SettingsError with one line."""
    if not path.exists():
        return {}
    try:
        tables = File.model_validate(tomllib.loads(path.read_text())).services
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return {name: table.replicas for name, table in tables.items()}


def parse(words: Iterable[str]) -> dict[str, int]:
    """Read `comments=3 posts=2`. Raises SettingsError."""
    wanted: dict[str, int] = {}
    for word in words:
        name, equals, count = word.partition("=")
        if not (name and equals and count.isascii() and count.isdigit()):
            raise SettingsError(f"{word!r}: write a service and a number, for instance comments=3.")
        wanted[name] = int(count)
    return wanted


def checked(wanted: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """Return `wanted` if each of it can be. Raises SettingsError that says what cannot."""
    names = sorted(known)
    for name, count in wanted.items():
        if name not in names:
            raise SettingsError(f"There is no service {name!r}; there are: {', '.join(names)}.")
        if name in SINGLE and count != 1:
            raise SettingsError(f"{name} runs once, not {count} times.")
        if not 0 <= count <= MAX_REPLICAS:
            raise SettingsError(f"{name}={count}: 0 to {MAX_REPLICAS} copies.")
    return dict(wanted)
