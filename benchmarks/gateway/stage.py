"""Stage: two upstreams, and the proxies in front of them, each a row of what is measured."""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import load, programs
from benchmarks.gateway import proxies
from benchmarks.gateway.leases import Leases
from benchmarks.programs import LOAD_CORE, PROXY_CORE
from benchmarks.record import Figures


@dataclass
class Row:
    """A proxy that runs, and what was measured of it."""

    name: str
    at: programs.Running
    leases: Leases | None
    asked: Callable[[], int]
    is_tls: bool = False
    rounds: dict[str, list[Figures]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where it is, as a URL begins."""
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.at.port}"

    def median(self, measure: str) -> Figures:
        """Return the median of each figure of a measure."""
        rounds = self.rounds[measure]
        return {key: round(statistics.median(one[key] for one in rounds), 4) for key in rounds[0]}


class Stage:
    """Two upstreams and the proxies in front of them; all end with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-")))
        self.missing: dict[str, str] = {}
        self._ports = (programs.free_port(), programs.free_port())
        self.upstream: programs.Running
        for port in self._ports:
            place = self._place(port=port)
            started = programs.running("upstream", proxies.upstream(place), place, LOAD_CORE)
            self.upstream = stack.enter_context(started)

    def _place(self, *, port: int = 0, count: int = 0, tls: bool = False) -> programs.Place:
        addresses = tuple(self._address(n) for n in range(count))
        return programs.Place(
            Path(tempfile.mkdtemp(dir=self.folder)),
            port or programs.free_port(),
            addresses,
            programs.certificate(self.folder) if tls else None,
        )

    def _address(self, number: int) -> str:
        """Return an address of its own for each of many instances; one of the upstreams is behind it."""
        return f"127.1.{number // 250}.{number % 250 + 1}:{self._ports[number % 2]}"

    def row(self, name: str, services: dict[str, int], *, tls: bool = False) -> Row | None:
        """Start a proxy; one that cannot is noted."""
        place = self._place(count=sum(services.values()), tls=tls)
        plan = proxies.PLANS[name.partition(":")[0]](place)
        with ExitStack() as stack:
            try:
                at = stack.enter_context(programs.running(name, plan, place, PROXY_CORE))
                made = self._lead(name, at, services, tls=tls)
            except (programs.Missing, OSError, SystemExit) as why:
                self.missing[name] = str(why)
                print(f"{name} is missing: {why}", flush=True)
                return None
            self._stack.push(stack.pop_all())
            return made

    def _lead(self, name: str, at: programs.Running, services: dict[str, int], *, tls: bool) -> Row:
        """Enter the upstreams where that is needed, and see that both take their turns."""
        leases = None
        if at.plan.admin:
            leases = Leases(at.plan.admin, services, self._address)
            leases.renew()
        key = "blog-served-by" if leases else "upstream"
        seen: set[str] = set()
        programs.until(
            lambda: self._seen(at.port, key, seen, tls=tls), 10, f"of two upstreams only {seen} are asked"
        )
        return Row(name, at, leases, self._asked, is_tls=tls)

    def _asked(self) -> int:
        """Return how many requests the upstreams have counted (ngx_http_stub_status_module)."""
        counted = 0
        for port in self._ports:
            with load.dial(port) as connection:
                counted += int(load.ask(connection, "/asked").body.split()[9])
        return counted

    @staticmethod
    def _seen(port: int, key: str, seen: set[str], *, tls: bool) -> bool:
        try:
            with load.dial(port, tls=tls) as connection:
                seen |= {load.ask(connection, "/things").headers.get(key, "") for _ in range(4)}
        except (OSError, SystemExit):
            return False  # not ready yet
        return len(seen - {""}) >= 2
