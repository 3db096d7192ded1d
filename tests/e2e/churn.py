"""Churn: what goes on happening to a blog that lives: it is scaled, killed, stopped, drained, rolled out.

The course is a matter of chance alone; a step that would take away the last who can answer is left out.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.test_scaling import run
from tests.e2e.threads import running

START = {"posts": 1, "comments": 2, "moderation": 1, "query": 2, "web": 1}
"""How many there are in the quiet moments before and after."""
WEIGHTS = {"scale": 3, "kill": 3, "stop": 2, "drain": 2, "rollout": 1}
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "drain": signal.SIGTERM}
MOST = 4
BUS = 0.08
"""How often it is the bus that is killed or stopped."""


class Step(NamedTuple):
    """What happens next, and how long nothing happens after it."""

    what: str
    service: str
    replicas: int
    which: float
    stopped: float
    pause: float

    def __str__(self) -> str:
        """Show what matters of it."""
        more = {"scale": f"={self.replicas}", "stop": f" for {self.stopped:.1f} s"}
        return f"{self.what} {self.service}{more.get(self.what, '')}"


def course(chance: random.Random) -> Iterator[Step]:
    """Make it up, for ever."""
    while True:
        [what] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        service, is_bus = chance.choice(list(START)), chance.random() < BUS
        yield Step(
            what=what,
            service="bus" if is_bus and what in ("kill", "stop") else service,
            replicas=chance.randint(1, MOST),
            which=chance.random(),
            stopped=chance.uniform(0.5, 5),
            pause=chance.uniform(0, 1),
        )


class Churn:
    """Takes the steps, and knows how many replicas are wanted meanwhile."""

    def __init__(self, blog: Blog) -> None:
        self.done: Counter[str] = Counter()
        self.killed: set[str] = set()
        """The services of which somebody was killed."""
        self._blog = blog
        self._wanted = START | {"bus": 1}

    def take(self, step: Step) -> None:
        """Let it happen, or leave it out."""
        at = time.monotonic()
        is_done = self._take(step)
        self.done[step.what if is_done else f"no {step.what}"] += 1
        note = "" if is_done else " (left out)"
        print(f"{at:.2f}..{time.monotonic():.2f} {step}{note}", flush=True)
        time.sleep(step.pause)  # the moment of the next one is the point

    def _take(self, step: Step) -> bool:
        if step.what == "scale":
            return self.scale(step.service, step.replicas)
        if step.what == "rollout":
            return self._roll_out(step.service)
        return self._strike(step)

    def scale(self, service: str, replicas: int) -> bool:
        """Scale, and do not wait: `--wait` gives up when it sees a crash loop."""
        self._wanted[service] = replicas
        return self._called("scale", f"{service}={replicas}")

    def _roll_out(self, service: str) -> bool:
        return bool(self._calm(service)) and self._called("rollout", service)

    def _called(self, *words: str) -> bool:
        done = run(self._blog, *words, timeout=300)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return True

    def _strike(self, step: Step) -> bool:
        """Hurt one of those who are ready, if another one can answer meanwhile; the bus is alone."""
        if self._wanted[step.service] == 1 and step.service != "bus":
            self.scale(step.service, 2)
            wait_until(lambda: self._calm(step.service), 60)
        rows = self._calm(step.service)
        if not rows:
            return False
        victim = rows[int(step.which * len(rows))]
        os.kill(self._blog.pid(victim), SIGNALS[step.what])
        if step.what == "stop":
            time.sleep(step.stopped)  # that it lasts is the point
            os.kill(self._blog.pid(victim), signal.SIGCONT)
            return True
        self.killed |= {step.service}
        wait_until(lambda: victim["id"] not in {row["id"] for row in self._blog.ready(step.service)})
        return True

    def _calm(self, service: str) -> list[dict[str, Any]]:
        """Return the instances when they are as many as wanted, all ready; else nobody."""
        rows = self._blog.table(service)
        is_calm = len(rows) == self._wanted[service] and all(row["state"] == "ready" for row in rows)
        return rows if is_calm else []


class Readers:
    """Read from threads of their own, and keep what is no answer of 200: they may go on for an hour."""

    def __init__(self, url: str, paths: list[str]) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self._urls = [url + path for path in paths]
        self._stop = threading.Event()

    @contextmanager
    def reading(self, threads: int = 3) -> Iterator["Readers"]:
        """Read while the body runs."""
        with running(self._stop, *[self._run] * threads):
            yield self

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(0.005):
                self._read(session, self._urls[self.answers % len(self._urls)])

    def _read(self, session: requests.Session, url: str) -> None:
        at = time.monotonic()
        try:
            answer = session.get(url, timeout=30)
        except requests.RequestException as error:
            wrong = repr(error)
        else:
            served = answer.headers.get("Blog-Served-By")
            wrong = "" if answer.status_code == 200 else f"{answer.status_code} {served} {answer.text}"
        self.answers += 1
        if wrong:
            self.wrong.append(f"{at:.2f}..{time.monotonic():.2f} {url}: {wrong}")
