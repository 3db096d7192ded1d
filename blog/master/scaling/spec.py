"""Spec: the replicas that are asked for, in `blog.toml` and in command-line words like `comments=3`.

Every mistake is one line that names the place in the file.
"""

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from blog.core.errors import SettingsError
from blog.core.numbers import whole
from blog.master.programs import MAX_REPLICAS, SINGLETONS, check_known
from blog.master.scaling.autoscale import AutoscaleTarget
from blog.master.scaling.schedule import ScheduleEntry, checked_cron

AUTO = "auto"
"""In place of a number: ends the number that was set by hand."""
ReplicaCount = Annotated[int, Field(ge=0, le=MAX_REPLICAS, strict=True)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_REPLICAS, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_LOCALTIME = Path("/etc/localtime")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # a folder, an absolute path; ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"there is no time zone {name!r}") from None
    except KeyError:
        raise ValueError(f"there is no time zone {name!r} on this machine") from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
Cron = Annotated[str, AfterValidator(checked_cron)]


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """What is asked for of one service. `replicas` None: no number, which means one."""

    replicas: int | None = None
    schedule: tuple[ScheduleEntry, ...] = ()
    autoscale: AutoscaleTarget | None = None
    zone: tzinfo = UTC


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScheduleTable(_StrictModel):
    """`{at = "0 10 * * *", replicas = 5}`."""

    at: Cron
    replicas: ReplicaCount


class AutoscaleTable(_StrictModel):
    """`{min = 1, max = 6, in_flight = 20, lag = 100}`; one of the two targets, or both."""

    min: PositiveCount = 1
    max: PositiveCount
    in_flight: Positive | None = None
    lag: Positive | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, which is more than max, {self.max}")
        if self.in_flight is None and self.lag is None:
            raise ValueError("needs a target: in_flight, lag, or both")
        return self


class ServiceTable(_StrictModel):
    """`[services.NAME]`."""

    replicas: ReplicaCount | None = None
    schedule: tuple[ScheduleTable, ...] = ()
    autoscale: AutoscaleTable | None = None
    timezone: Zone | None = None

    @model_validator(mode="after")
    def _fits_between_min_and_max(self) -> Self:
        counts = {"replicas": self.replicas} | {
            f"schedule.{place}.replicas": entry.replicas for place, entry in enumerate(self.schedule)
        }
        for place, count in counts.items():
            scale = self.autoscale
            if count is not None and scale is not None and not scale.min <= count <= scale.max:
                raise ValueError(
                    f"{place} is {count}, but autoscale goes from {scale.min} to {scale.max}"
                )
        return self

    def spec(self, default_zone: tzinfo) -> ScalingSpec:
        """Return the spec; `default_zone` is the file's."""
        return ScalingSpec(
            replicas=self.replicas,
            schedule=tuple(ScheduleEntry(entry.at, entry.replicas) for entry in self.schedule),
            autoscale=AutoscaleTarget(**dict(self.autoscale)) if self.autoscale else None,
            zone=ZoneInfo(self.timezone) if self.timezone else default_zone,
        )


class SpecFile(_StrictModel):
    """`blog.toml`."""

    timezone: Zone | None = None
    services: dict[str, ServiceTable] = {}


def read(path: Path, known: Iterable[str]) -> dict[str, ScalingSpec]:
    """Read the specs of the `known` services; without a file, empty ones. Raises SettingsError."""
    file = _parsed(path)
    zone = ZoneInfo(file.timezone) if file.timezone else machine_zone()
    specs = {name: ScalingSpec(zone=zone) for name in known}
    for name, table in file.services.items():
        check_known(name, specs, f"{path}: services.{name}: ")
        if name in SINGLETONS and (table.schedule or table.autoscale or table.replicas not in (None, 1)):
            raise SettingsError(f"{path}: services.{name}: {name} runs once; it cannot be scaled.")
        specs[name] = table.spec(zone)
    return specs


def machine_zone() -> tzinfo:
    """Return the time zone of this machine, as cron has it: TZ, else /etc/localtime, else UTC."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key=_name_of(_LOCALTIME.resolve()))
    except (OSError, ValueError, KeyError):
        return UTC


def parse_counts(words: Iterable[str]) -> dict[str, int | None]:
    """Read `comments=3 posts=auto` (None for auto). Raises SettingsError."""
    counts: dict[str, int | None] = {}
    for word in words:
        name, equals, count = word.partition("=")
        number = whole(count)
        if not (name and equals and (number is not None or count == AUTO)):
            raise SettingsError(
                f"{word!r}: write a service and a number, for instance comments=3 (or comments=auto)."
            )
        counts[name] = number
    return counts


def _parsed(path: Path) -> SpecFile:
    try:
        return SpecFile.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        return SpecFile()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


def _name_of(file: Path) -> str | None:
    """Return what people call a zone, by where its file is: …/zoneinfo/Europe/Berlin."""
    _, found, name = str(file).partition("/zoneinfo/")
    return name if found else None
