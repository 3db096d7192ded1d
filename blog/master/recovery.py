"""Resume: what a master left behind that did not end in order is taken over by the next one, or ended.

`run/blog.json` says how the blog runs. It is there from the start until everything has ended in order.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ValidationError

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.errors import SettingsError
from blog.core.files.atomic import write_atomically
from blog.core.logs import get_logger
from blog.core.net.address import Address
from blog.core.settings import Settings
from blog.master.ports import TOKEN, known_token, with_ports, with_token
from blog.master.programs import GATEWAY
from blog.master.runtimes.base import PersistentRuntime, Runtime, end_in_order
from blog.master.runtimes.in_process import InProcessRuntime
from blog.master.runtimes.logs import keep_small
from blog.master.runtimes.processes import ProcessRuntime

Lasting: TypeAlias = Literal["process", "docker"]
Kind: TypeAlias = Lasting | Literal["in-process"]

log = get_logger()


class RecoveryRecord(BaseModel):
    """How a blog runs: what the next master has to know of it, besides the token."""

    runtime: Lasting
    host: str
    public_port: int
    admin_port: int

    @property
    def registry_url(self) -> str:
        """Where the registry in the gateway is, for this machine."""
        return Address.of(self.host, self.admin_port).local.url()

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Read what was left; None when the last blog ended in order."""
        with suppress(FileNotFoundError, ValidationError):
            return cls.model_validate_json(_path(data_dir).read_bytes())
        return None

    def write(self, data_dir: Path) -> None:
        """Keep it, whole or not at all."""
        write_atomically(_path(data_dir), self.model_dump_json(), is_durable=False)


@asynccontextmanager
async def resumed(
    kind: Kind, settings: Settings, clock: Clock
) -> AsyncIterator[tuple[Runtime, Settings]]:
    """Open the runtime, with what runs already; and the settings: ports that can be had, a token.

    Raises SettingsError for what cannot be, or does not fit to what runs.
    """
    record = RecoveryRecord.read(settings.data_dir)
    if record is not None and record.runtime != kind:
        raise SettingsError(
            f"A blog was left running here, with `--runtime {record.runtime}`: start it with that, or"
            " end it with `blog down`."
        )
    if kind == "in-process":
        settings = _fresh(settings)
        async with InProcessRuntime.open(settings, clock) as tasks:
            yield tasks, settings
        return
    async with opened(kind, settings) as runtime, background(keep_small(settings.data_dir / "logs")):
        settings = _fitting(settings, record, runtime)
        await runtime.prepare(settings)
        _record_of(kind, settings).write(settings.data_dir)
        if runtime.adopted:
            log.info("blog.adopted", copies=[found.name for found in runtime.adopted])
        try:
            yield runtime, settings
        finally:
            await runtime.clear()
            _path(settings.data_dir).unlink(missing_ok=True)


@asynccontextmanager
async def opened(kind: Lasting, settings: Settings) -> AsyncIterator[PersistentRuntime]:
    """Open a runtime. Raises SettingsError when it is not to be had."""
    if kind == "process":
        async with ProcessRuntime.open(settings.data_dir) as processes:
            yield processes
        return
    from blog.master.runtimes.docker.containers import DockerRuntime  # noqa: PLC0415 - heavy, and seldom wanted

    async with DockerRuntime.open(settings) as containers:
        yield containers


async def end_left(settings: Settings, kind: Lasting | None) -> list[str]:
    """End what a master left behind, and return its names. Whoever calls this holds the blog's lock.

    `kind` is for a blog whose data directory was removed under it. Raises SettingsError.
    """
    record = RecoveryRecord.read(settings.data_dir)
    async with opened(kind or (record.runtime if record else "process"), settings) as runtime:
        await end_in_order((found.service, found.running) for found in runtime.adopted)
        await runtime.clear()
    _path(settings.data_dir).unlink(missing_ok=True)
    return [found.name for found in runtime.adopted]


def _fitting(settings: Settings, record: RecoveryRecord | None, runtime: Runtime) -> Settings:
    """Make the settings those of the blog that runs; what does not run yet gets its ports checked."""
    if not runtime.adopted:
        return _fresh(settings)
    if record is None:
        raise SettingsError(
            "Copies of a blog were left running here, but how it ran is gone (run/blog.json): end them"
            " with `blog down`, containers with `blog down --runtime docker`."
        )
    settings = _as_before(settings, record)
    _check_token(settings)
    settings = with_token(settings, settings.data_dir / "run" / TOKEN)
    has_gateway = any(found.service == GATEWAY for found in runtime.adopted)
    return settings if has_gateway else with_ports(settings)


def _as_before(settings: Settings, record: RecoveryRecord) -> Settings:
    """Take over host and ports. Raises SettingsError where others are asked for."""
    for name in ("host", "public_port", "admin_port"):
        asked, had = getattr(settings, name), getattr(record, name)
        if asked not in (0, had):
            raise SettingsError(
                f"BLOG_{name.upper()}={asked}: the blog that was left running here has {had};"
                " end it first, with `blog down`."
            )
    return settings.model_copy(update=record.model_dump(exclude={"runtime"}))


def _check_token(settings: Settings) -> None:
    if settings.secret not in (None, known_token(settings.data_dir)):
        raise SettingsError(
            "BLOG_TOKEN: the blog that was left running here has another one; end it first, with"
            " `blog down`."
        )


def _fresh(settings: Settings) -> Settings:
    return with_ports(with_token(settings, settings.data_dir / "run" / TOKEN))


def _record_of(kind: Lasting, settings: Settings) -> RecoveryRecord:
    return RecoveryRecord(
        runtime=kind,
        host=settings.host,
        public_port=settings.public_port,
        admin_port=settings.admin_port,
    )


def _path(data_dir: Path) -> Path:
    return data_dir / "run" / "blog.json"
