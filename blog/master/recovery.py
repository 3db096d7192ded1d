"""Recovery: replicas that a killed master left running are adopted by the next one, or stopped.

`run/blog.json` says how the blog runs. It exists from the start until everything has ended in order.
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
from blog.master.ports import TOKEN, known_tokens, with_ports, with_token
from blog.master.programs import GATEWAY
from blog.master.runtimes.base import PersistentRuntime, Runtime, stop_in_order
from blog.master.runtimes.in_process import InProcessRuntime
from blog.master.runtimes.logs import rotate_for_ever
from blog.master.runtimes.processes import ProcessRuntime

PersistentKind: TypeAlias = Literal["process", "docker"]
RuntimeKind: TypeAlias = PersistentKind | Literal["in-process"]

_UNREADABLE = "a later version may have written it; it is taken for missing"

log = get_logger()


class RecoveryRecord(BaseModel):
    """How a blog runs: what the next master needs to know, besides the token."""

    runtime: PersistentKind
    host: str
    public_port: int
    admin_port: int

    @property
    def registry_url(self) -> str:
        """The URL of the registry in the gateway, for this machine."""
        return Address.of(self.host, self.admin_port).local.url()

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Read the record; None when the last blog ended in order, or when it cannot be read."""
        with suppress(FileNotFoundError, ValidationError):
            return cls.model_validate_json(_path(data_dir).read_bytes())
        return None

    def write(self, data_dir: Path) -> None:
        """Write the record, whole or not at all."""
        write_atomically(_path(data_dir), self.model_dump_json(), is_durable=False)


@asynccontextmanager
async def recovered(
    kind: RuntimeKind, settings: Settings, clock: Clock
) -> AsyncIterator[tuple[Runtime, Settings]]:
    """Open the runtime with the replicas that run already; complete the settings: ports, a token.

    Raises SettingsError if that is not possible, or if the settings contradict what runs.
    """
    record = RecoveryRecord.read(settings.data_dir)
    if record is None and _path(settings.data_dir).exists():
        log.warning("recovery.unreadable", file=str(_path(settings.data_dir)), next=_UNREADABLE)
    if record is not None and record.runtime != kind:
        raise SettingsError(
            f"A blog was left running here, with `--runtime {record.runtime}`: start it with that, or"
            " stop it with `blog down`."
        )
    if kind == "in-process":
        settings = _new_settings(settings)
        async with InProcessRuntime.open(settings, clock) as tasks:
            yield tasks, settings
        return
    async with (
        open_runtime(kind, settings) as runtime,
        background(rotate_for_ever(settings.data_dir / "logs")),
    ):
        settings = _recovered_settings(settings, record, runtime)
        await runtime.prepare(settings)
        _record_of(kind, settings).write(settings.data_dir)
        if runtime.adopted:
            log.info("blog.adopted", replicas=[found.name for found in runtime.adopted])
        try:
            yield runtime, settings
        finally:
            await runtime.clear()
            _path(settings.data_dir).unlink(missing_ok=True)


@asynccontextmanager
async def open_runtime(kind: PersistentKind, settings: Settings) -> AsyncIterator[PersistentRuntime]:
    """Open a runtime. Raises SettingsError when it is not available."""
    if kind == "process":
        async with ProcessRuntime.open(settings.data_dir) as processes:
            yield processes
        return
    from blog.master.runtimes.docker.containers import DockerRuntime  # noqa: PLC0415 - heavy, and seldom used

    async with DockerRuntime.open(settings) as containers:
        yield containers


async def stop_leftovers(settings: Settings, kind: PersistentKind | None) -> list[str]:
    """Stop the replicas that a killed master left running; return their names.

    The caller holds the blog's lock. `kind` is for a blog whose data directory was removed. Raises
    SettingsError.
    """
    record = RecoveryRecord.read(settings.data_dir)
    async with open_runtime(kind or (record.runtime if record else "process"), settings) as runtime:
        await stop_in_order((found.service, found.running) for found in runtime.adopted)
        await runtime.clear()
    _path(settings.data_dir).unlink(missing_ok=True)
    return [found.name for found in runtime.adopted]


def _recovered_settings(settings: Settings, record: RecoveryRecord | None, runtime: Runtime) -> Settings:
    """Return the settings of the blog that runs; its ports are checked only if no gateway holds them."""
    if not runtime.adopted:
        return _new_settings(settings)
    if record is None:
        raise SettingsError(
            "Replicas of a blog were left running here, but run/blog.json, which says how, is missing or"
            " cannot be read:"
            " stop them with `blog down`, containers with `blog down --runtime docker`."
        )
    settings = _with_recorded_ports(settings, record)
    _check_token(settings)
    settings = with_token(settings, settings.data_dir / "run" / TOKEN, is_in_use=True)
    has_gateway = any(found.service == GATEWAY for found in runtime.adopted)
    return settings if has_gateway else with_ports(settings)


def _with_recorded_ports(settings: Settings, record: RecoveryRecord) -> Settings:
    """Use the recorded host and ports. Raises SettingsError if the settings ask for others."""
    for name in ("host", "public_port", "admin_port"):
        value, recorded = getattr(settings, name), getattr(record, name)
        if value not in (0, recorded):
            raise SettingsError(
                f"BLOG_{name.upper()}={value}: the blog that was left running here has {recorded};"
                " stop it first, with `blog down`."
            )
    return settings.model_copy(update=record.model_dump(exclude={"runtime"}))


def _check_token(settings: Settings) -> None:
    if settings.secret not in (None, *known_tokens(settings.data_dir)):
        raise SettingsError(
            "BLOG_TOKEN: the blog that was left running here has another one; stop it first, with"
            " `blog down`."
        )


def _new_settings(settings: Settings) -> Settings:
    return with_ports(with_token(settings, settings.data_dir / "run" / TOKEN, is_in_use=False))


def _record_of(kind: PersistentKind, settings: Settings) -> RecoveryRecord:
    return RecoveryRecord(
        runtime=kind,
        host=settings.host,
        public_port=settings.public_port,
        admin_port=settings.admin_port,
    )


def _path(data_dir: Path) -> Path:
    return data_dir / "run" / "blog.json"
