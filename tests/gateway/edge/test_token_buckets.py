"""One table of buckets, for all processes behind the public port."""

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blog.gateway.edge import token_buckets as buckets
from blog.gateway.edge.token_buckets import TokenBuckets, find_slot, shared_memory

HOLDER = """
import signal, sys
from blog.gateway.edge.token_buckets import TokenBuckets

def stay(until):
    print("in it", flush=True)
    signal.pause()

TokenBuckets(int(sys.argv[1])).update("client", stay)
"""


def one_more(until: float) -> tuple[float, float]:
    """Write ahead for a second more; say what was written before."""
    return until + 1.0, until


@contextmanager
def holder(memory: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is in the middle of a change of the row of `client`."""
    command = [sys.executable, "-c", HOLDER, str(memory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(memory,)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in it\n"
            yield process
        finally:
            process.kill()


def test_each_client_has_its_own() -> None:
    """What one writes is no matter of another's; what it has written is remembered."""
    table = TokenBuckets()
    assert [table.update("a", one_more) for _ in range(3)] == [0.0, 1.0, 2.0]
    assert table.update("b", one_more) == 0.0
    assert table.count(0.5) == 2
    assert table.count(1.5) == 1


def test_what_is_shared_is_one_table() -> None:
    """Who has the descriptor finds what others wrote; other memory has another key, and nothing in it."""
    with shared_memory() as memory, shared_memory() as other:
        assert TokenBuckets(memory).update("a", one_more) == 0.0
        assert TokenBuckets(memory).update("a", one_more) == 1.0
        assert TokenBuckets(other).update("a", one_more) == 0.0
        assert os.pread(memory, 64, 0) != os.pread(other, 64, 0)


def test_a_process_that_is_killed_in_the_middle_holds_nobody_up() -> None:
    """The kernel takes its lock back; what it had not written is not there."""
    with shared_memory() as memory, holder(memory) as process:
        assert not buckets._lock(memory, TokenBuckets(memory)._slot_of("client")[0])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert buckets._lock(memory, TokenBuckets(memory)._slot_of("client")[0])
        assert TokenBuckets(memory).update("client", one_more) == 0.0


def test_a_process_that_is_stopped_in_the_middle_holds_others_up_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They try so often and then write all the same; another row is not concerned at all."""
    waited: list[float] = []
    monkeypatch.setattr("blog.gateway.edge.token_buckets.time.sleep", waited.append)
    with shared_memory() as memory, holder(memory):
        table = TokenBuckets(memory)
        assert table.update("client", one_more) == 0.0
        assert 0 < sum(waited) < 1
        waited.clear()
        rows = {table._slot_of(name)[0]: name for name in "abcdefgh"}
        rows.pop(table._slot_of("client")[0], None)
        assert [table.update(name, one_more) for name in rows.values()] == [0.0] * len(rows)
        assert not waited


@pytest.mark.parametrize(
    ("name", "names", "untils", "expected"),
    [
        (7, (5, 6, 7), (0.0, 0.0, 9.0), 2),
        (7, (5, 6, 8), (3.0, 2.0, 9.0), 1),
        (7, (0, 0, 0), (0.0, 0.0, 0.0), 0),
    ],
)
def test_a_client_has_its_own_place_or_that_with_least_to_wait(
    name: int, names: tuple[int, ...], untils: tuple[float, ...], expected: int
) -> None:
    """A place whose time is past is as good as a free one, so nothing needs to be swept."""
    assert find_slot(name, names, untils) == expected


def test_more_clients_than_places_get_no_more_than_the_places_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new client goes on where another one is: a flood of addresses buys nothing, nor memory."""
    monkeypatch.setattr(buckets, "_ROWS", 1)
    table = TokenBuckets()

    def at_most_five(until: float) -> tuple[float, float]:
        return (until + 1.0, 0.0) if until < 5.0 else (until, 1.0)

    taken = sum(table.update(f"client {number}", at_most_five) == 0.0 for number in range(10_000))
    assert taken == 8 * 5
    assert table.count(0.0) == 8


def test_the_table_is_of_one_size() -> None:
    """Two MiB, of which the system gives what is written to."""
    with shared_memory() as memory:
        size = os.fstat(memory).st_size
        table = TokenBuckets(memory)
        for number in range(1000):
            table.update(f"2001:db8:0:{number:x}::/64", one_more)
        assert os.fstat(memory).st_size == size < 3 << 20
        assert len(mmap.mmap(memory, 0)) == size
