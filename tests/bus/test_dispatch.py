"""What may go out now: order within a key, keys in parallel, tries, and the position."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.bus.dispatch import (
    BACKLOG,
    MAX_ATTEMPTS,
    MAX_BATCH,
    MAX_WINDOW,
    Batch,
    Dispatch,
    Window,
    retry_delay,
)
from blog.bus.schema import Entry


def entry(sequence: int, key: str = "k") -> Entry:
    """Give a row."""
    return Entry(sequence, f"e{sequence}", "t", key, "{}")


def loaded(*keys: str) -> Dispatch:
    """Give a subscription that has loaded one event for each of `keys`, in this order."""
    made = Dispatch()
    made.load([entry(n, key) for n, key in enumerate(keys, 1)], len(keys))
    return made


def out(dispatch: Dispatch, now: float = 0.0) -> list[Batch]:
    """Take everything that may go out."""
    return list(iter(lambda: dispatch.next_batch(now), None))


def sequences(batch: Batch) -> list[int]:
    """List what is in a batch."""
    return [item.sequence for item in batch.entries]


def test_keys_go_out_in_parallel_and_a_key_in_one_batch() -> None:
    """Consecutive events of a key travel together."""
    dispatch = loaded("a", "b", "a", "a")
    assert [sequences(batch) for batch in out(dispatch)] == [[1, 3, 4], [2]]
    assert out(dispatch) == []


def test_one_batch_of_a_key_is_in_flight() -> None:
    """What comes later waits for it."""
    dispatch = loaded("a")
    [batch] = out(dispatch)
    dispatch.load([entry(2, "a")], 2)
    assert out(dispatch) == []
    dispatch.settle(batch, 1)
    assert [sequences(batch) for batch in out(dispatch)] == [[2]]


def test_a_batch_has_a_limit() -> None:
    """100 events, the rest in the next one."""
    dispatch = loaded(*["a"] * (MAX_BATCH + 5))
    [batch] = out(dispatch)
    assert len(batch.entries) == MAX_BATCH
    dispatch.settle(batch, MAX_BATCH)
    [rest] = out(dispatch)
    assert len(rest.entries) == 5


def test_a_failed_batch_comes_again_when_it_is_due() -> None:
    """Its key waits, others go on."""
    dispatch = loaded("a", "b")
    first, second = out(dispatch)
    dispatch.retry(first, now=10.0, jitter=0.0)
    dispatch.settle(second, 1)
    due = dispatch.next_due()
    assert due == pytest.approx(10.1)
    assert out(dispatch, 10.05) == []
    [again] = out(dispatch, 10.1)
    assert (again.entries, again.attempt) == (first.entries, 2)


def test_a_part_of_a_batch_can_be_settled() -> None:
    """Up to the one that did not work; attempts count anew for the next."""
    dispatch = loaded("a", "a", "a")
    [batch] = out(dispatch)
    dispatch.settle(batch, 2)
    [rest] = out(dispatch)
    assert (sequences(rest), rest.attempt) == ([3], 1)
    assert dispatch.watermark == 2


def test_putting_back_is_no_attempt() -> None:
    """Nobody was there to try."""
    dispatch = loaded("a")
    [batch] = out(dispatch)
    dispatch.put_back(batch)
    assert out(dispatch) == [batch]


def test_the_watermark_stays_below_what_is_open() -> None:
    """And what is settled above it is not delivered again after a restart."""
    dispatch = loaded("a", "b", "c")
    first, second, third = out(dispatch)
    assert dispatch.settled_with(third, 1) == 0
    dispatch.settle(third, 1)
    assert dispatch.watermark == 0
    dispatch.settle(second, 1)
    assert dispatch.watermark == 0
    assert dispatch.settled_with(first, 1) == 3
    dispatch.settle(first, 1)
    assert dispatch.watermark == 3
    again = Dispatch(0, frozenset({2, 3}))
    again.load([entry(1, "a"), entry(2, "b"), entry(3, "c")], 3)
    assert [sequences(batch) for batch in out(again)] == [[1]]


def test_events_of_other_types_move_the_watermark() -> None:
    """The log has more than this subscription wants."""
    dispatch = Dispatch()
    dispatch.load([], 50)
    assert dispatch.watermark == 50


def test_memory_is_bounded() -> None:
    """What is not loaded waits in the log."""
    dispatch = loaded(*["a"] * BACKLOG)
    assert not dispatch.wants_more


@pytest.mark.parametrize(
    ("attempts", "jitter", "seconds"),
    [(1, 0.0, 0.1), (1, 1.0, 0.2), (2, 1.0, 0.4), (4, 0.5, 1.2), (9, 1.0, 51.2), (20, 1.0, 60.0)],
)
def test_delays_double_up_to_a_minute(attempts: int, jitter: float, seconds: float) -> None:
    """Equal jitter: half fixed, half drawn."""
    assert retry_delay(attempts, jitter) == pytest.approx(seconds)


def test_an_instance_may_ask_for_a_longer_wait() -> None:
    """Retry-After is obeyed."""
    dispatch = loaded("a")
    [batch] = out(dispatch)
    dispatch.retry(batch, now=0.0, jitter=0.0, after=7.0)
    assert dispatch.next_due() == 7.0


def test_tries_come_to_an_end() -> None:
    """After 20 it is dead."""
    dispatch = loaded("a")
    now = 0.0
    for attempt in range(1, MAX_ATTEMPTS + 1):
        [batch] = out(dispatch, now)
        assert batch.attempt == attempt
        assert dispatch.is_exhausted(batch) is (attempt == MAX_ATTEMPTS)
        dispatch.retry(batch, now, 0.5)
        now = dispatch.next_due() or 0.0


def test_a_window_grows_with_success_and_halves_when_it_is_too_much() -> None:
    """Between one batch and sixteen."""
    window = Window()
    sizes = [window.size]
    for _ in range(20):
        window.grow()
    sizes.append(window.size)
    for _ in range(10):
        window.halve()
    sizes.append(window.size)
    assert sizes == [2, MAX_WINDOW, 1]


@given(st.lists(st.sampled_from("abc"), max_size=40), st.randoms(use_true_random=False))
def test_whatever_happens_each_key_is_settled_in_order_and_once(
    keys: list[str], chance: random.Random
) -> None:
    """Random interleaving of load, send, settle, fail and put back, until everything is settled."""
    dispatch, now, position = Dispatch(), 0.0, 0
    settled: list[Entry] = []
    flying: list[Batch] = []
    while position < len(keys) or flying or dispatch.size:
        match chance.choice(["load", "send", "settle", "fail", "back", "time"]):
            case "load" if position < len(keys):
                position += 1
                dispatch.load([entry(position, keys[position - 1])], position)
            case "send":
                batch = dispatch.next_batch(now)
                if batch is not None:
                    assert batch.key not in {other.key for other in flying}
                    flying.append(batch)
            case "settle" if flying:
                batch = flying.pop(chance.randrange(len(flying)))
                count = chance.randint(1, len(batch.entries))
                settled += batch.entries[:count]
                expected = dispatch.settled_with(batch, count)
                dispatch.settle(batch, count)
                assert dispatch.watermark == expected
            case "fail" if flying:
                dispatch.retry(flying.pop(), now, 0.5)
            case "back" if flying:
                dispatch.put_back(flying.pop())
            case "time":
                now += 100.0
        done = {item.sequence for item in settled}
        assert all(sequence in done for sequence in range(1, dispatch.watermark + 1))
    assert sorted(item.sequence for item in settled) == list(range(1, len(keys) + 1))
    for key in set(keys):
        mine = [item.sequence for item in settled if item.key == key]
        assert mine == sorted(mine)
    assert dispatch.watermark == len(keys)
