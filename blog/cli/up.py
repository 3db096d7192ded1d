"""`blog up`: runs the whole blog and shows its progress, its URLs and its end."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from blog.cli.control import instances
from blog.cli.down import retained_note
from blog.cli.process import in_loop, on_signals
from blog.cli.settings import load_and_warn
from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.files.data_dir import needed
from blog.core.instance import State
from blog.core.logs import get_logger
from blog.core.output import say, say_lines
from blog.core.settings import Settings
from blog.master.programs import check_counts, defaults, ignored
from blog.master.recovery import RuntimeKind
from blog.master.scaling.spec import parse_counts
from blog.master.scaling.spec_file import SpecFileWatch
from blog.master.status import CANNOT_RUN, CRASH_LOOP
from blog.master.up import BlogProcesses, registry_url
from blog.master.up import up as running_blog

FILE = Path("blog.toml")
_DETACHED_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05


def start(scales: tuple[str, ...], *, detach: bool, kind: RuntimeKind) -> int:
    """Run the blog here, or in the background; return the exit code. Raises SettingsError."""
    settings = load_and_warn(service="master")
    for folder, why in ignored().items():
        get_logger().warning("service.ignored", folder=folder, why=why)
    file = SpecFileWatch(FILE, defaults())
    counts = check_counts(parse_counts(scales), defaults())
    if detach:
        return asyncio.run(_detached(settings))
    in_loop(lambda: _attached(settings, file, counts, kind))
    return 0


async def _attached(
    settings: Settings, file: SpecFileWatch, counts: dict[str, int | None], kind: RuntimeKind
) -> None:
    began = time.monotonic()
    stopping = asyncio.Event()
    on_signals(stopping.set)
    _on_hangup(stopping.set)
    async with running_blog(settings, file, SystemClock(), stopping, counts=counts, kind=kind) as blog:
        async with background(_show_progress(blog, began)):
            await stopping.wait()
        say("draining and stopping …")
    took = time.monotonic() - began
    say(f"stopped; it ran for {took:.1f} s, and nothing is left running{retained_note(settings, kind)}")


def _on_hangup(stop: Callable[[], None]) -> None:
    """Stop in order when the terminal is closed, unless `nohup` asks to go on."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop)


async def _show_progress(blog: BlogProcesses, began: float) -> None:
    """Print each change of an instance until all are ready, then the URLs."""
    say(f"starting {', '.join(f'{n} x {name}' for name, n in blog.reconciler.desired.items())} …")
    seen: dict[str, State] = {}

    def show_changes() -> None:
        for item in blog.registry_client.discovery.instances.values():
            if seen.get(item.id) is not item.state:
                seen[item.id] = item.state
                say(f"{time.monotonic() - began:6.2f} s  {item.state:9} {item.id}")

    stop = blog.registry_client.discovery.on_change(show_changes)
    try:
        failing = await blog.wait_until_ready()
        for replica in failing:
            why = replica.config_error or "it crashes again and again (`blog ps`)"
            say(f"{replica.name} cannot run, the others do: {why}")
        say(f"ready after {time.monotonic() - began:.2f} s")
        say(f"  pages       {blog.public_url}/")
        say(f"  posts       {blog.public_url}/posts")
        say(f"  live        {blog.public_url}/live")
        say(f"  registry    {registry_url(blog.settings)}  (admin API, needs the token)")
        say(f"  data        {blog.settings.data_dir.absolute()}")
        ends = "Ctrl-C" if sys.stdin.isatty() else "`blog down`"
        say(f"{ends} drains and stops everything.")
        await asyncio.Event().wait()
    finally:
        stop()


async def _detached(settings: Settings) -> int:
    """Start the same command in the background; return once every replica is ready, or it fails."""
    log = settings.data_dir / "run" / "up.log"
    words = [word for word in sys.argv[1:] if word not in ("-d", "--detach")]
    with needed(settings.data_dir):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("w")
    with output:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - the same command again; it does not block
            [sys.executable, "-m", "blog", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ends = time.monotonic() + _DETACHED_TIMEOUT
    while not await _is_ready(settings):
        is_over = process.poll() is not None
        if is_over or time.monotonic() > ends:
            say_lines(_text_of(log), err=True)
            if is_over:
                return process.returncode
            say(
                f"not ready after {_DETACHED_TIMEOUT:g} s; it keeps running: `blog ps`, `blog down`",
                err=True,
            )
            return 1
        await asyncio.sleep(_POLL_INTERVAL)
    say_lines(_text_of(log))
    return 0


def _text_of(log: Path) -> str:
    """Return the output of the blog in the background."""
    return log.read_text(errors="surrogateescape").rstrip()


async def _is_ready(settings: Settings) -> bool:
    try:
        rows = await instances(settings.data_dir)
    except SettingsError:
        return False
    states = {row["state"] for row in rows}
    return "ready" in states and states <= {"ready", CANNOT_RUN, CRASH_LOOP}
