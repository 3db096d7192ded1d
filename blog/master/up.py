"""`up`: the composition of a whole blog on this machine: ports, token, lock, runtime, control."""

import asyncio
import fcntl
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from pydantic import SecretStr

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.errors import SettingsError
from blog.core.instance import State
from blog.core.settings import Settings
from blog.master.control import Control, served
from blog.master.control_loop import ControlLoop
from blog.master.in_process import InProcess
from blog.master.plan import Copy
from blog.master.policy_file import PolicyFile
from blog.master.processes import Processes
from blog.master.rollouts import Rollouts
from blog.master.runtimes import Runtime
from blog.master.scaler import Scaler
from blog.master.service import Master
from blog.master.signals import Signals
from blog.master.table import Table
from blog.registry.session import Session

LOCK = "up.lock"
"""In the run folder: held by the master as long as it lives."""
TOKEN = "token"  # noqa: S105 - a file name
"""In the run folder: what the inner doors want to see."""


class Blog:
    """A running blog: its master, and what the registry says of its instances."""

    def __init__(
        self, settings: Settings, master: Master, session: Session, http: aiohttp.ClientSession
    ) -> None:
        self.settings = settings
        self.master = master
        self.session = session
        self.http = http

    @property
    def public_url(self) -> str:
        """Where readers go."""
        [gateway] = self.session.discovery.serving("gateway")
        return f"http://{gateway.metadata['public']}"

    def is_ready(self, copy: Copy) -> bool:
        """Tell whether others know the instance of this copy as ready."""
        of_service = self.session.discovery.serving(copy.service)
        ready = (item for item in of_service if item.state is State.READY)
        return any(self.master.copy_of(item) is copy for item in ready)

    async def wait_until_ready(self) -> None:
        """Return when as many instances of each service are ready as should be."""
        desired = self.master.desired
        await self.session.discovery.wait_until(
            lambda table: all(
                sum(item.state is State.READY for item in table.serving(name)) >= count
                for name, count in desired.items()
            )
        )


@asynccontextmanager
async def up(  # noqa: PLR0913 - the whole composition, in one place
    settings: Settings,
    file: PolicyFile,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    said: Mapping[str, int | None],
    in_process: bool,
) -> AsyncIterator[Blog]:
    """Run the whole blog while the body runs; then drain it and leave nothing running.

    How many of each: as `file` says, overruled by hand with `said`. `stopping` is set when somebody asks
    for the end over the control socket. Raises SettingsError when a port is taken, or when a blog already
    runs in this data directory.
    """
    run = settings.data_dir / "run"
    run.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        _hold_for_life(run / LOCK, settings.data_dir)
        settings = with_ports(with_token(settings, run / TOKEN))
        runtime: Runtime
        if in_process:
            runtime = await stack.enter_async_context(InProcess.open(settings, clock))
        else:
            runtime = Processes(settings)
        blog = await stack.enter_async_context(running(runtime, settings, {}, clock))
        scaler = Scaler(file.policies, run / "scale.json")
        scaler.recall()
        scaler.say(said)
        signals = Signals(blog.http, registry_url(settings), settings.secret, clock)
        loop = ControlLoop(blog.master, scaler, signals, file, clock)
        rollouts = await stack.enter_async_context(Rollouts.open(blog.master, blog.is_ready, clock))
        table = Table(blog.master, scaler, signals, clock)
        control = Control(loop, table, rollouts, settings.data_dir / "logs", stopping)
        await stack.enter_async_context(served(control.app(), run / "control.sock"))
        await stack.enter_async_context(background(loop.run()))
        yield blog
        scaler.forget()


@asynccontextmanager
async def running(
    runtime: Runtime, settings: Settings, desired: Mapping[str, int], clock: Clock
) -> AsyncIterator[Blog]:
    """Run `desired` on `runtime` and follow the registry."""
    async with (
        aiohttp.ClientSession() as http,
        Session(
            http=http,
            registries=[registry_url(settings)],
            clock=clock,
            follow=("*",),
            token=settings.secret,
        ) as session,
        Master.open(runtime, desired, clock) as master,
    ):
        yield Blog(settings, master, session, http)


def registry_url(settings: Settings) -> str:
    """Return where the gateway's registry is, for this machine."""
    return f"http://{settings.host}:{settings.admin_port}"


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
    """Make sure that both doors' ports can be had; 0 becomes a free one. Raises SettingsError."""
    ports: dict[str, int] = {}
    for name in ("public_port", "admin_port"):
        port: int = getattr(settings, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                raise SettingsError(
                    f"BLOG_{name.upper()}={port}: cannot listen on {settings.host}:{port}:"
                    f" {os.strerror(error.errno or 0)}; set another BLOG_{name.upper()}."
                ) from None
            ports[name] = probe.getsockname()[1]
    return settings.model_copy(update=ports)


def _hold_for_life(path: Path, folder: Path) -> None:
    """Lock the data directory until this process ends. Raises SettingsError when a blog runs in it."""
    if not lock_for_life(path):
        raise SettingsError(
            f"BLOG_DATA_DIR={folder}: a blog already runs here (`blog ps`); stop it with `blog down`."
        )


def lock_for_life(path: Path) -> bool:
    """Lock a file until this process ends; tell whether it was free.

    The descriptor stays open on purpose: who waits for the lock waits for the end of the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def known_token(data_dir: Path) -> str | None:
    """Return the token of the blog that runs, or ran, in `data_dir`; None when there is none."""
    try:
        return (data_dir / "run" / TOKEN).read_text().strip() or None
    except FileNotFoundError:
        return None
