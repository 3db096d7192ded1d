"""A whole blog under load, while its instances and its bus are killed and stopped: everything holds.

The short version kills one of each and stops one; each of BLOG_CHAOS_ROUNDS does all of it to a new blog.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.soundness import problems
from tests.e2e.test_kill import Traffic
from tests.e2e.trouble import (
    KILLS,
    REPLICAS,
    STOPS,
    UNANSWERED,
    Fault,
    shuffled,
    strike,
    wait_until_settled,
    writing,
)

ROUNDS = int(os.environ.get("BLOG_CHAOS_ROUNDS", "0"))
SCALE = [word for name in ("comments", "query", "moderation") for word in ("--scale", f"{name}=2")]


def course(chance: random.Random) -> list[Fault]:
    """Say what happens, in which order."""
    return shuffled(chance, KILLS + STOPS if ROUNDS else [*KILLS, chance.choice(STOPS)])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("turn", range(max(1, ROUNDS)))
def test_whatever_happens_everything_holds(up: Callable[..., Blog], tmp_path: Path, turn: int) -> None:
    """What was acknowledged is there once, comments are settled once, views are what the log says.

    And no reader sees an error meanwhile.
    """
    seed = random.randrange(1 << 32)  # noqa: S311 - to be had again
    chance = random.Random(seed)  # noqa: S311 - the same
    faults = course(chance)
    print(f"seed {seed}: {', '.join(f'{fault.signum.name} {fault.service}' for fault in faults)}")
    blog = up(*SCALE, BLOG_LOG_LEVEL="warning")
    blog.wait_until_ready(**REPLICAS, gateway=1)
    data = tmp_path / "data"
    with writing(blog, tmp_path) as notes, reading(blog).flowing(2) as reads:
        for fault in faults:
            seen, told = len(reads.answers), len(notes.told())
            wait_until(lambda: notes.unanswered() >= UNANSWERED, 20, step=0)
            strike(blog, fault, chance)
            wait_until(lambda: len(notes.told()) > told + UNANSWERED, 60)  # writers get on
            wait_until(lambda: reads.more_than(seen + 10), 30)
    head = wait_until_settled(blog, data)
    assert blog.stop() == 0
    print(f"{len(notes.told())} acknowledged, {head} events; not: {notes.failed()}")
    print(f"reads: {reads.statuses()}")
    assert problems(data, notes.told()) == []
    assert reads.errors == []
    assert reads.statuses().keys() == {200}
    assert {why.split()[0] for why in notes.failed()} <= {"502", "503", "504"}


def reading(blog: Blog) -> Traffic:
    """Read the list, a post, and its comments, from whoever answers."""
    *_, post = requests.get(f"{blog.url}/posts", timeout=10).json()  # the oldest one: all have it
    paths = (f"/posts/{post}", "/posts?limit=5", f"/posts/{post}/comments?limit=5")
    turns = iter(range(1 << 30))
    return Traffic(lambda session: session.get(blog.url + paths[next(turns) % 3], timeout=30))
