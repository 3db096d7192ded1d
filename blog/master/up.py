"""`up`: composes a whole blog on this machine: ports, token, lock, runtime, control API."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.errors import SettingsError
from blog.core.files.data_dir import needed
from blog.core.files.lock import LockedError, lock_for_life
from blog.core.instance import State
from blog.core.net.address import Address
from blog.core.net.http_client import client_session
from blog.core.settings import Settings
from blog.master.control import ControlAPI, serve
from blog.master.recovery import RuntimeKind, recovered
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.replicas.rollout_runner import RolloutRunner
from blog.master.runtimes.base import Runtime
from blog.master.scaling.loop import ScalingLoop
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.signals import LoadSignals
from blog.master.scaling.spec_file import SpecFileWatch
from blog.master.status import StatusTable
from blog.registry.client.client import RegistryClient

LOCK = "up.lock"
"""In the run folder: held by the master as long as it lives."""
LOCK_MODE = 0o600


class BlogProcesses:
    """A running blog: its reconciler, and what the registry knows of its instances."""

    def __init__(
        self,
        settings: Settings,
        reconciler: Reconciler,
        registry_client: RegistryClient,
        http: aiohttp.ClientSession,
    ) -> None:
        self.settings = settings
        self.reconciler = reconciler
        self.registry_client = registry_client
        self.http = http

    @property
    def public_url(self) -> str:
        """The URL of the public port, for this machine."""
        scheme = "https" if self.settings.tls_cert else "http"
        return Address.of(self.settings.host, self.settings.public_port).local.url(scheme=scheme)

    def is_ready(self, replica: Replica) -> bool:
        """Return whether the registry knows the instance of this replica as ready."""
        of_service = self.registry_client.discovery.serving(replica.service)
        ready = (item for item in of_service if item.state is State.READY)
        return any(self.reconciler.replica_of(item) is replica for item in ready)

    async def wait_until_ready(self) -> list[Replica]:
        """Return when the desired number of instances of each service is ready.

        It does not wait for replicas that cannot run or crash again and again, and returns those.
        """
        changed = asyncio.Event()
        with ExitStack() as stack:
            stack.callback(self.registry_client.discovery.on_change(changed.set))
            stack.callback(self.reconciler.on_exit(changed.set))
            while not all(self._is_settled(name, n) for name, n in self.reconciler.desired.items()):
                await changed.wait()
                changed.clear()
        return [c for name in self.reconciler.desired for c in self.reconciler.failing(name)]

    def _is_settled(self, service: str, count: int) -> bool:
        """Return whether as many of its replicas as should be are ready, or given up."""
        serving = self.registry_client.discovery.serving(service)
        ready = sum(item.state is State.READY for item in serving)
        return ready >= count or ready + len(self.reconciler.failing(service)) >= count


@asynccontextmanager
async def up(  # noqa: PLR0913 - the whole composition, in one place
    settings: Settings,
    file: SpecFileWatch,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    counts: Mapping[str, int | None],
    kind: RuntimeKind,
) -> AsyncIterator[BlogProcesses]:
    """Run the whole blog while the body runs; then drain it and leave nothing running.

    The numbers of replicas are those of `file`, unless `counts` sets one by hand. `stopping` is set when
    a client of the control socket asks for the end. Replicas that a killed master left running are
    adopted. Raises SettingsError when a port is taken, when a blog already runs in this data directory,
    or when that cannot be written.
    """
    run = settings.data_dir / "run"
    async with AsyncExitStack() as stack:
        with needed(settings.data_dir):
            run.mkdir(parents=True, exist_ok=True)
            _hold_for_life(run / LOCK, settings.data_dir)
            runtime, settings = await stack.enter_async_context(recovered(kind, settings, clock))
            scaler = Scaler(file.specs, run / "scale.json")
            scaler.restore()
            scaler.set_manual(counts)
            blog = await stack.enter_async_context(running(runtime, settings, {}, clock))
            signals = LoadSignals(blog.http, registry_url(settings), settings.secret, clock)
            loop = ScalingLoop(blog.reconciler, scaler, signals, file, clock)
            rollouts = await stack.enter_async_context(
                RolloutRunner.open(blog.reconciler, blog.is_ready, clock)
            )
            table = StatusTable(blog.reconciler, scaler, signals, clock)
            control = ControlAPI(loop, table, rollouts, settings.data_dir / "logs", stopping)
            await stack.enter_async_context(serve(control.app(), run / "control.sock"))
        await stack.enter_async_context(background(loop.run()))
        yield blog
        scaler.discard()


@asynccontextmanager
async def running(
    runtime: Runtime, settings: Settings, desired: Mapping[str, int], clock: Clock
) -> AsyncIterator[BlogProcesses]:
    """Run `desired` replicas on `runtime`, and follow the registry."""
    async with (
        client_session() as http,
        Reconciler.open(runtime, desired, clock) as reconciler,
        RegistryClient(
            http=http,
            registries=[registry_url(settings)],
            clock=clock,
            follow=("*",),
            token=settings.secret,
            expected=lambda: reconciler.expected() or None,
        ) as registry_client,
    ):
        stop = reconciler.on_exit(registry_client.send_expected)
        try:
            yield BlogProcesses(settings, reconciler, registry_client, http)
        finally:
            stop()


def registry_url(settings: Settings) -> str:
    """Return where the gateway's registry is, for this machine."""
    return Address.of(settings.host, settings.admin_port).local.url()


def _hold_for_life(path: Path, folder: Path) -> None:
    """Lock the data directory until this process ends. Raises SettingsError when a blog runs in it."""
    try:
        lock_for_life(path, mode=LOCK_MODE)
    except LockedError:
        raise SettingsError(
            f"BLOG_DATA_DIR={folder}: a blog already runs here (`blog ps`); stop it with `blog down`."
        ) from None
