"""What may be sent now: order within a key, keys in parallel, retries, and the position."""

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blog.bus.delivery.budget import MAX_CHARACTERS, MAX_EVENTS
from blog.bus.delivery.dispatch import (
    BACKLOG,
    MAX_ATTEMPTS,
    Dispatch,
    KeyBatch,
    is_exhausted,
)
from blog.bus.log.schema import LogEntry, SubscriptionPosition
from blog.http.limits import BODY_LIMIT


def entry(sequence: int, key: str = "k") -> LogEntry:
    """Give a row."""
    return LogEntry(sequence, f"e{sequence}", "t", key, "{}")


def ingested(*keys: str) -> Dispatch:
    """Give a subscription that has ingested one event for each of `keys`, in this order."""
    made = Dispatch()
    made.ingest([entry(n, key) for n, key in enumerate(keys, 1)], len(keys))
    return made


def out(dispatch: Dispatch, now: float = 0.0) -> list[KeyBatch]:
    """Take everything that may be sent."""
    return [part for batch in iter(lambda: dispatch.next_batch(now), ()) for part in batch]


def sequences(batch: KeyBatch) -> list[int]:
    """List what is in a batch."""
    return [item.sequence for item in batch.entries]


def test_keys_go_out_in_parallel_and_a_key_in_one_batch() -> None:
    """Consecutive events of a key travel together."""
    dispatch = ingested("a", "b", "a", "a")
    assert [sequences(batch) for batch in out(dispatch)] == [[1, 3, 4], [2]]
    assert out(dispatch) == []


def test_one_batch_of_a_key_is_in_flight() -> None:
    """What comes later waits for it."""
    dispatch = ingested("a")
    [batch] = out(dispatch)
    dispatch.ingest([entry(2, "a")], 2)
    assert out(dispatch) == []
    dispatch.settle(batch, 1)
    assert [sequences(batch) for batch in out(dispatch)] == [[2]]


@pytest.mark.parametrize("keys", ["aaaa", "abcd", "aabb"])
def test_a_batch_has_a_size(keys: str) -> None:
    """So that an instance accepts it; an event that is larger than that is sent alone."""
    sizes = [MAX_CHARACTERS // 2, MAX_CHARACTERS // 2, MAX_CHARACTERS + 1, 1]
    dispatch = Dispatch()
    entries = [
        entry(n, key)._replace(envelope="x" * size)
        for n, key, size in zip(count(1), keys, sizes, strict=False)
    ]
    dispatch.ingest(entries, len(entries))
    batches = []
    while batch := dispatch.next_batch(0.0):
        batches.append([one.sequence for part in batch for one in part.entries])
        for part in batch:
            dispatch.settle(part, len(part.entries))
    assert batches == [[1, 2], [3], [4]]
    assert MAX_CHARACTERS * 4 < BODY_LIMIT


def test_a_batch_has_a_number_of_events() -> None:
    """100 events, the rest in the next one."""
    dispatch = ingested(*["a"] * (MAX_EVENTS + 5))
    [batch] = out(dispatch)
    assert len(batch.entries) == MAX_EVENTS
    dispatch.settle(batch, MAX_EVENTS)
    [rest] = out(dispatch)
    assert len(rest.entries) == 5


def test_a_failed_batch_comes_again_when_it_is_due() -> None:
    """Its key waits, others go on."""
    dispatch = ingested("a", "b")
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
    dispatch = ingested("a", "a", "a")
    [batch] = out(dispatch)
    dispatch.settle(batch, 2)
    [rest] = out(dispatch)
    assert (sequences(rest), rest.attempt) == ([3], 1)
    assert dispatch.watermark == 2


def test_a_release_is_no_attempt() -> None:
    """No instance got the events."""
    dispatch = ingested("a")
    [batch] = out(dispatch)
    dispatch.release(batch)
    assert out(dispatch) == [batch]


def test_what_could_not_be_recorded_comes_again_and_has_not_failed() -> None:
    """Later, as the attempt that it was, and with others."""
    dispatch = ingested("a", "b")
    first, second = out(dispatch)
    dispatch.postpone(first, 5.0)
    dispatch.postpone(second, 5.0)
    assert (out(dispatch, 4.9), dispatch.next_due()) == ([], 5.0)
    assert set(dispatch.next_batch(5.0)) == {first, second}


def test_what_is_tried_again_goes_alone() -> None:
    """One event of one key, so that it is known what fails; then its key goes on as before."""
    dispatch = ingested("a", "b", "a", "c")
    batch = dispatch.next_batch(0.0)
    assert [part.key for part in batch] == ["a", "b", "c"]
    for part in batch:
        dispatch.retry(part, 0.0, 0.5)
    alone = [dispatch.next_batch(1.0) for _ in range(3)]
    assert [[sequences(part) for part in batch] for batch in alone] == [[[1]], [[2]], [[4]]]
    assert {part.attempt for [part] in alone} == {2}
    [first] = alone[0]
    dispatch.settle(first, 1)
    assert [sequences(batch) for batch in out(dispatch, 1.0)] == [[3]]


def test_a_batch_has_no_more_events_than_asked_for() -> None:
    """The rest goes with the next one."""
    dispatch = ingested(*"abcdefgh")
    assert [len(dispatch.next_batch(0.0, size)) for size in (3, 4, 4)] == [3, 4, 1]


def test_a_batch_is_of_types_that_are_known() -> None:
    """The rest keeps its place in the queue, and a key its order."""
    dispatch = Dispatch()
    rows = [
        entry(n, key)._replace(type=type_)
        for n, (key, type_) in enumerate([("a", "t"), ("b", "u"), ("a", "u"), ("c", "t")], 1)
    ]
    dispatch.ingest(rows, 4)
    known = dispatch.next_batch(0.0, types={"t"})
    assert [sequences(batch) for batch in known] == [[1], [4]]
    assert dispatch.next_batch(0.0, types={"t"}) == ()
    assert [sequences(batch) for batch in dispatch.next_batch(0.0, types={"u"})] == [[2]]
    dispatch.settle(known[0], 1)
    assert [sequences(batch) for batch in out(dispatch)] == [[3]]


def test_the_watermark_stays_below_what_is_open() -> None:
    """And what is settled above it is not delivered again after a restart."""
    dispatch = ingested("a", "b", "c")
    first, second, third = out(dispatch)
    assert dispatch.watermark_after(third.entries) == 0
    dispatch.settle(third, 1)
    assert dispatch.watermark == 0
    dispatch.settle(second, 1)
    assert dispatch.watermark == 0
    assert dispatch.watermark_after(first.entries) == 3
    dispatch.settle(first, 1)
    assert dispatch.watermark == 3
    again = Dispatch(SubscriptionPosition(frozenset(), 0, frozenset({2, 3})))
    again.ingest([entry(1, "a"), entry(2, "b"), entry(3, "c")], 3)
    assert [sequences(batch) for batch in out(again)] == [[1]]


def test_events_of_other_types_move_the_watermark() -> None:
    """The log has more than this subscription wants."""
    dispatch = Dispatch()
    dispatch.ingest([], 50)
    assert dispatch.watermark == 50


def test_memory_is_bounded() -> None:
    """What is not ingested waits in the log."""
    dispatch = ingested(*["a"] * BACKLOG)
    assert not dispatch.has_room


@pytest.mark.parametrize(
    ("attempts", "jitter", "seconds"), [(1, 0.0, 0.1), (4, 0.5, 1.2), (19, 1.0, 60.0)]
)
def test_delays_double_up_to_a_minute(attempts: int, jitter: float, seconds: float) -> None:
    """Equal jitter: half fixed, half drawn."""
    dispatch, now = ingested("a"), 0.0
    for _ in range(attempts):
        [batch] = out(dispatch, now)
        dispatch.retry(batch, now, jitter)
        began, now = now, dispatch.next_due() or 0.0
    assert now - began == pytest.approx(seconds)


def test_an_instance_may_ask_for_a_longer_wait() -> None:
    """Retry-After is obeyed."""
    dispatch = ingested("a")
    [batch] = out(dispatch)
    dispatch.retry(batch, now=0.0, jitter=0.0, after=7.0)
    assert dispatch.next_due() == 7.0


def test_tries_come_to_an_end() -> None:
    """After 20 it is dead."""
    dispatch = ingested("a")
    now = 0.0
    for attempt in range(1, MAX_ATTEMPTS + 1):
        [batch] = out(dispatch, now)
        assert batch.attempt == attempt
        assert is_exhausted(batch) is (attempt == MAX_ATTEMPTS)
        dispatch.retry(batch, now, 0.5)
        now = dispatch.next_due() or 0.0


def parked(dispatch: Dispatch) -> list[int]:
    """Park what is to be parked, as if on disk; return which that was."""
    entries = dispatch.to_park()
    dispatch.park(entries)
    return [item.sequence for item in entries]


def test_behind_a_dead_event_its_key_is_parked() -> None:
    """What was in memory, and what comes later; others go on, and the position passes."""
    dispatch = ingested("a", "b", "a", "a")
    first, other = out(dispatch)
    dispatch.settle(first, 1, is_dead=True)
    dispatch.settle(other, 1)
    dispatch.ingest([entry(5, "a"), entry(6, "b")], 6)
    assert [sequences(batch) for batch in out(dispatch)] == [[6]]
    assert dispatch.watermark == 2
    assert parked(dispatch) == [3, 4, 5]
    assert (dispatch.watermark, dispatch.parked, dispatch.size) == (5, 3, 1)
    assert dispatch.dead == {"a"}
    assert dispatch.to_unpark() == []


@pytest.mark.parametrize(("redriven", "expected"), [(1, [1, 3, 4]), (None, [3, 4])])
def test_a_key_goes_on_in_order(redriven: int | None, expected: list[int]) -> None:
    """With the dead event when it is redriven, without when it is discarded; new ones come after."""
    dispatch = ingested("a", "b", "a", "a")
    first, other = out(dispatch)
    dispatch.settle(first, 1, is_dead=True)
    dispatch.settle(other, 1)
    parked(dispatch)
    if redriven is None:
        dispatch.discard("a")
    else:
        dispatch.redrive("a", redriven)
    dispatch.ingest([entry(5, "a")], 5)
    assert dispatch.to_unpark() == expected
    dispatch.unpark([entry(n, "a") for n in expected])
    [batch] = out(dispatch)
    assert sequences(batch) == expected
    parked(dispatch)
    dispatch.settle(batch, len(expected))
    assert dispatch.to_unpark() == [5]
    dispatch.unpark([entry(5, "a")])
    [last] = out(dispatch)
    dispatch.settle(last, 1)
    assert dispatch.to_unpark() == []
    dispatch.ingest([entry(6, "a")], 6)
    assert [sequences(batch) for batch in out(dispatch)] == [[6]]
    assert (dispatch.watermark, dispatch.parked) == (5, 0)


class Model:
    """A subscription as naive as can be: rows on disk, and what came of each event."""

    def __init__(self, keys: list[str]) -> None:
        self.log = [entry(n, key) for n, key in enumerate(keys, 1)]
        self.rows: dict[int, str] = {}
        self.watermark = 0
        self.done: list[LogEntry] = []
        self.discarded: set[int] = set()

    def write(self, rows: dict[int, str], watermark: int) -> None:
        """Do what the log does with them, and see that the position passes nothing that is open."""
        self.rows |= rows
        self.watermark = max(self.watermark, watermark)
        self.done += [self.log[n - 1] for n, state in rows.items() if state == "done"]
        gone = {item.sequence for item in self.done} | self.discarded
        for sequence in range(1, self.watermark + 1):
            assert sequence in gone or self.rows.get(sequence) in {"dead", "parked"}

    def dead(self) -> list[int]:
        """List the dead."""
        return [sequence for sequence, state in self.rows.items() if state == "dead"]

    def position(self) -> SubscriptionPosition:
        """Say what a bus that starts again reads."""
        waiting: dict[str, list[int]] = {}
        for sequence in sorted(self.rows):
            if self.rows[sequence] == "parked":
                waiting.setdefault(self.log[sequence - 1].key, []).append(sequence)
        return SubscriptionPosition(
            types=frozenset(),
            watermark=self.watermark,
            settled=frozenset(n for n in self.rows if n > self.watermark),
            parked=waiting,
            dead=frozenset(self.log[n - 1].key for n in self.dead()),
        )


ACTIONS = (
    "ingest",
    "send",
    "settle",
    "die",
    "fail",
    "release",
    "postpone",
    "time",
    "park",
    "unpark",
    "resolve",
    "crash",
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from("abc"), max_size=40), st.randoms(use_true_random=False))
def test_whatever_happens_each_key_is_settled_in_order_and_once(  # noqa: PLR0912, PLR0915 - a table of cases
    keys: list[str], chance: random.Random
) -> None:
    """Random interleaving, crashes among it, then whatever is left until everything is settled."""
    model, now = Model(keys), 0.0
    dispatch, in_flight = Dispatch(), list[KeyBatch]()
    for step in range(100_000):
        is_calm = step > 200
        match chance.choice(ACTIONS):
            case "ingest" if dispatch.cursor < len(keys):
                through = chance.randint(dispatch.cursor + 1, len(keys))
                dispatch.ingest(model.log[dispatch.cursor : through], through)
            case "send" if sent := dispatch.next_batch(now, chance.randint(1, 5)):
                assert len(sent) == 1 or all(part.attempt == 1 for part in sent)
                for part in sent:
                    assert part.key not in {other.key for other in in_flight}
                    assert part.key not in {model.log[n - 1].key for n in model.dead()}
                    in_flight.append(part)
            case "settle" if in_flight:
                batch = in_flight.pop(chance.randrange(len(in_flight)))
                taken = batch.entries[: chance.randint(1, len(batch.entries))]
                model.write({item.sequence: "done" for item in taken}, dispatch.watermark_after(taken))
                dispatch.settle(batch, len(taken))
            case "die" if in_flight and not is_calm:
                batch = in_flight.pop(chance.randrange(len(in_flight)))
                taken = batch.entries[: chance.randint(1, len(batch.entries))]
                rows = {item.sequence: "done" for item in taken} | {taken[-1].sequence: "dead"}
                model.write(rows, dispatch.watermark_after(taken))
                dispatch.settle(batch, len(taken), is_dead=True)
            case "fail" if in_flight:
                dispatch.retry(in_flight.pop(), now, 0.5)
            case "release" if in_flight:
                dispatch.release(in_flight.pop())
            case "postpone" if in_flight:
                dispatch.postpone(in_flight.pop(), now + 1)
            case "time":
                now += 100.0
            case "park" if entries := dispatch.to_park():
                model.write(
                    {item.sequence: "parked" for item in entries}, dispatch.watermark_after(entries)
                )
                dispatch.park(entries)
            case "unpark":
                dispatch.unpark([model.log[n - 1] for n in dispatch.to_unpark()])
            case "resolve" if dead := model.dead():
                sequence = chance.choice(dead)
                key = model.log[sequence - 1].key
                if chance.random() < 0.5:
                    model.rows[sequence] = "parked"
                    dispatch.redrive(key, sequence)
                else:
                    model.rows[sequence] = "done"
                    model.discarded.add(sequence)
                    dispatch.discard(key)
            case "crash" if not is_calm:
                dispatch, in_flight = Dispatch(model.position()), []
        if is_calm and len(model.done) + len(model.discarded) == len(keys) == dispatch.watermark:
            break
    assert sorted({n.sequence for n in model.done} | model.discarded) == list(range(1, len(keys) + 1))
    assert len(model.done) + len(model.discarded) == len(keys)
    for key in set(keys):
        mine = [item.sequence for item in model.done if item.key == key]
        assert mine == sorted(mine)
    assert (dispatch.size, dispatch.parked, dispatch.in_flight) == (0, 0, 0)
