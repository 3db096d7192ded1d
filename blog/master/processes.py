"""Copies as local processes: each in a session of its own, its output in a file and a short memory.

A child ends when its standard input closes, so none outlives the master, however that ends.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from blog.core.settings import PREFIX, Settings

WITH_PARENT = "--with-parent"
KILL_AFTER = 10.0
"""Seconds that a copy has to drain."""
_REMEMBERED = 20
_MAX_LINE = 1 << 20
_MAX_LOG = 16 << 20  # bytes of a copy's log file at which a new one is begun


class ProcessCopy:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self._process = process
        self._log_file = log_file
        self._lines: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Keep what it prints until it ends; return the exit code (negative: the signal)."""
        assert self._process.stdout is not None
        with self._log_file.open("ab", buffering=0) as file:
            async for line in self._process.stdout:
                with suppress(OSError):  # a full disk costs lines of a log, not the whole blog
                    file.write(line)
                self._lines.append(line.decode(errors="replace").rstrip())
        return await self._process.wait()

    async def end(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end in time."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """Return the last lines it printed."""
        return list(self._lines)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


class Processes:
    """Starts `python -m blog NAME` with the settings that the master has, on any free port."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = settings.data_dir / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    async def start(self, service: str, name: str) -> ProcessCopy:
        """Start one process."""
        log_file = self._logs / f"{name}.log"
        if log_file.exists() and log_file.stat().st_size > _MAX_LOG:
            log_file.replace(log_file.with_suffix(".log.1"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "blog",
            service,
            WITH_PARENT,
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_MAX_LINE,
        )
        return ProcessCopy(process, log_file)

    def _environment(self) -> dict[str, str]:
        """Return the environment of a child: ours, but where to listen and to announce."""
        settings = self._settings
        own = {
            "REGISTRY": f"http://{settings.host}:{settings.admin_port}",
            "EMBED_REGISTRY": "true",
            "HOST": settings.host,
            "PORT": "0",
            "ADVERTISE": "",
            "PUBLIC_PORT": str(settings.public_port),
            "ADMIN_PORT": str(settings.admin_port),
            "DATA_DIR": str(settings.data_dir.absolute()),
            "TOKEN": settings.secret or "",
        }
        return dict(os.environ) | {PREFIX + name: value for name, value in own.items()}
