"""The rules of which instances are alive, as tables of facts and times."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from blog.core.instance import Instance, Load, State
from blog.registry.server.membership import (
    LOST_AFTER,
    PROBE_EVERY,
    PROBES_AT_ONCE,
    SUSPECT_AFTER,
    Membership,
)
from blog.registry.server.transitions import ProbeResult, RemovalCause

START = datetime(2026, 1, 1, tzinfo=UTC)


def instance(id_: str = "a") -> Instance:
    """Give an instance as it announces itself."""
    return Instance(id=id_, service="posts", address="127.0.0.1:1", started_at=START)


def ready(*ids: str) -> Membership:
    """Give a table in which `ids` are ready since time 0."""
    made = Membership()
    for id_ in ids or ("a",):
        made.join(instance(id_), 0.0)
        made.admit(id_)
    made.take_changes()
    return made


def state(table: Membership, id_: str = "a") -> State | None:
    """Return the state, None if it is gone."""
    found = table.get(id_)
    return found.state if found else None


def test_an_instance_joins_as_starting_and_is_ready_after_the_dial_back() -> None:
    """Nobody gets traffic on its own word."""
    table = Membership()
    table.join(instance(), 0.0)
    assert state(table) is State.STARTING
    table.admit("a")
    assert state(table) is State.READY


@pytest.mark.parametrize(
    ("silent_for", "expected"),
    [
        (0.0, State.READY),
        (SUSPECT_AFTER - 0.1, State.READY),
        (SUSPECT_AFTER, State.SUSPECT),
        (LOST_AFTER - 0.1, State.SUSPECT),
        (LOST_AFTER, None),
    ],
)
def test_silence(silent_for: float, expected: State | None) -> None:
    """3 s make a suspect, 10 s in all a loss."""
    table = ready()
    table.expire(silent_for)
    assert state(table) is expected


def test_a_suspect_is_probed_every_half_second() -> None:
    """And nobody else is."""
    table = ready("a", "b")
    table.heartbeat("b", None, SUSPECT_AFTER)
    times = [SUSPECT_AFTER + step * 0.1 for step in range(12)]
    probed = [time for time in times if [i.id for i in table.expire(time)] == ["a"]]
    assert probed == pytest.approx([SUSPECT_AFTER, SUSPECT_AFTER + PROBE_EVERY, SUSPECT_AFTER + 1.0])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ProbeResult.ANSWERED, State.READY),
        (ProbeResult.SILENT, State.SUSPECT),
        (ProbeResult.REFUSED, None),
    ],
)
def test_what_a_probe_of_a_ready_one_means(result: ProbeResult, expected: State | None) -> None:
    """Refused is conclusive, silence for 300 ms makes a suspect."""
    table = ready()
    table.record_probe("a", result, 1.0)
    assert state(table) is expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ProbeResult.ANSWERED, State.READY),
        (ProbeResult.SILENT, State.SUSPECT),
        (ProbeResult.REFUSED, None),
    ],
)
def test_what_a_probe_of_a_suspect_means(result: ProbeResult, expected: State | None) -> None:
    """It is back with its first answer."""
    table = ready()
    table.expire(SUSPECT_AFTER)
    table.record_probe("a", result, SUSPECT_AFTER + 0.1)
    assert state(table) is expected


def test_a_suspect_is_back_with_its_first_beat() -> None:
    """A busy loop is not death."""
    table = ready()
    table.expire(SUSPECT_AFTER)
    assert table.heartbeat("a", Load(in_flight=3), SUSPECT_AFTER + 0.1)
    assert state(table) is State.READY
    found = table.get("a")
    assert found is not None
    assert found.load.in_flight == 3


def test_a_draining_one_stays_draining() -> None:
    """Neither beats nor probes make it ready again."""
    table = ready()
    table.drain("a")
    table.heartbeat("a", None, 1.0)
    table.record_probe("a", ProbeResult.ANSWERED, 1.0)
    table.join(instance(), 1.0)
    assert state(table) is State.DRAINING


def test_joining_again_keeps_the_state() -> None:
    """A socket that broke and came back is not a new start."""
    table = ready()
    table.join(instance(), 1.0)
    assert state(table) is State.READY


def test_leaving_and_dying_are_different_words() -> None:
    """Followers are told which."""
    table = ready("a", "b")
    table.remove("a", RemovalCause.LEFT)
    table.record_probe("b", ProbeResult.REFUSED, 1.0)
    assert {c.instance.id: c.why for c in table.take_changes()} == {"a": "left", "b": "lost"}


def test_a_lease_ends_after_its_own_time() -> None:
    """And is renewed by putting again."""
    table = Membership()
    table.join(instance(), 0.0, lease=5.0)
    table.heartbeat("a", None, 4.0)
    table.expire(8.9)
    assert state(table) is not None
    table.expire(9.0)
    assert state(table) is None
    assert not table.heartbeat("a", None, 9.1)


def test_load_is_no_change() -> None:
    """A beat a second from everybody is not news for everybody."""
    table = ready()
    table.heartbeat("a", Load(in_flight=9), 1.0)
    assert table.take_changes() == []


def test_changes_are_handed_out_once_and_only_the_last_of_each() -> None:
    """Followers need the table as it is, not its history."""
    table = Membership()
    table.join(instance(), 0.0)
    table.admit("a")
    table.drain("a")
    assert [change.instance.state for change in table.take_changes()] == [State.DRAINING]
    assert table.take_changes() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "beat", "admit", "drain", "answered", "silent", "refused", "left"]),
            st.sampled_from("ab"),
            st.floats(0, 4),
        ),
        max_size=30,
    )
)
def test_followers_that_apply_the_changes_have_the_table(
    steps: list[tuple[str, str, float]],
) -> None:
    """Whatever happens, changes taken at any times add up to the table."""
    table, seen, now = Membership(), dict[str, State](), 0.0
    for word, id_, pause in steps:
        now += pause
        match word:
            case "join":
                table.join(instance(id_), now)
            case "beat":
                table.heartbeat(id_, None, now)
            case "admit":
                table.admit(id_)
            case "drain":
                table.drain(id_)
            case "left":
                table.remove(id_, RemovalCause.LEFT)
            case result:
                table.record_probe(id_, ProbeResult[result.upper()], now)
        table.expire(now)
        for change in table.take_changes() if pause > 1 else ():
            seen.pop(change.instance.id, None)
            if change.why is None:
                seen[change.instance.id] = change.instance.state
    for change in table.take_changes():
        seen.pop(change.instance.id, None)
        if change.why is None:
            seen[change.instance.id] = change.instance.state
    assert seen == {item.id: item.state for item in table.instances}


# Self-preservation: it is we who are cut off.


def crowd(count: int) -> Membership:
    """Give a table of `count` ready ones, by number."""
    return ready(*map(str, range(count)))


def hear(table: Membership, ids: range, now: float) -> None:
    """Let some of a crowd beat."""
    for number in ids:
        table.heartbeat(str(number), None, now)


@pytest.mark.parametrize(
    ("count", "silent", "is_self_preserving"),
    [
        (3, 3, False),
        (4, 1, False),
        (4, 2, True),
        (5, 2, False),
        (5, 3, True),
        (20, 9, False),
        (20, 10, True),
    ],
)
def test_half_or_more_of_four_or_more_at_once_are_not_lost(
    count: int, silent: int, *, is_self_preserving: bool
) -> None:
    """They are suspect, which costs nothing, but stay in the table for as long as it takes."""
    table = crowd(count)
    for step in range(1, 200):
        hear(table, range(silent, count), step / 2)
        table.expire(step / 2)
    assert table.is_self_preserving is is_self_preserving
    assert len(table.instances) == (count if is_self_preserving else count - silent)
    assert table.counts()[State.SUSPECT] == (silent if is_self_preserving else 0)


def test_those_that_go_silent_one_after_the_other_are_lost() -> None:
    """Three of four within 5 s are our fault, in a minute they are theirs."""
    table = crowd(4)
    for step in range(1, 200):
        now = step / 2
        hear(table, range(int(now / 20), 4), now)
        table.expire(now)
    assert [item.id for item in table.instances] == []
    assert table.self_preservations == 0


def test_a_refused_one_is_lost_even_then() -> None:
    """Who refuses was reached: it is not we who are cut off from it."""
    table = crowd(4)
    table.expire(SUSPECT_AFTER)
    assert table.is_self_preserving
    table.record_probe("0", ProbeResult.REFUSED, SUSPECT_AFTER)
    assert state(table, "0") is None


def test_when_beats_return_the_rest_gets_its_time_anew() -> None:
    """The link is back: who comes second is not lost for who came first."""
    table = crowd(4)
    for now in range(3, 60):
        table.expire(float(now))
    hear(table, range(3), 60.0)
    table.expire(60.0)
    assert not table.is_self_preserving
    assert state(table, "3") is State.SUSPECT
    hear(table, range(3), 66.0)
    table.expire(60.0 + LOST_AFTER - SUSPECT_AFTER - 0.1)
    assert state(table, "3") is State.SUSPECT
    table.expire(60.0 + LOST_AFTER - SUSPECT_AFTER)
    assert state(table, "3") is None


def test_a_lease_that_ends_in_self_preservation_is_suspect() -> None:
    """And its probe renews it: we cannot hear its puts, but it answers."""
    table = Membership()
    for id_ in "abcd":
        table.join(instance(id_), 0.0, lease=5.0)
        table.admit(id_)
    table.expire(5.0)
    assert table.counts() == {State.SUSPECT: 4}
    table.record_probe("a", ProbeResult.ANSWERED, 5.0)
    assert state(table) is State.READY


# A registry that is late itself.


def test_what_the_registry_was_late_is_not_counted() -> None:
    """Its loop stood still for a minute: nobody was silent in that time."""
    table = ready()
    table.expire(0.1)
    table.expire(60.2, late=60.0)
    assert state(table) is State.READY
    table.expire(60.0 + SUSPECT_AFTER - 0.1)
    assert state(table) is State.READY
    table.expire(60.0 + SUSPECT_AFTER)
    assert state(table) is State.SUSPECT


# Restarts.


def test_a_registry_is_complete_when_everybody_it_knew_is_ready() -> None:
    """Joining is not enough: who starts cannot answer yet. Who drains or is gone is not waited for."""
    table = Membership(began=100.0, remembered={"posts": 1})
    table.expect(["a", "b", "c"], 100.1)
    for id_ in ("a", "b", "c"):
        table.join(instance(id_), 100.2)
        assert not table.is_complete(100.2)
    table.admit("a")
    table.expect(["a"], 100.3)
    table.drain("b")
    assert not table.is_complete(100.3)
    table.remove("c", RemovalCause.LEFT)
    assert table.is_complete(100.3)


def test_it_counts_who_may_get_traffic_of_each_service() -> None:
    """However they come, change, come again and go; that is what it is to know after a restart."""
    table = Membership()
    for id_ in ("a", "b"):
        table.join(instance(id_), 0.0)
    assert table.serving() == {}
    table.admit("a")
    table.admit("b")
    assert table.serving() == {"posts": 2}
    table.record_probe("a", ProbeResult.SILENT, 1.0)
    table.join(instance("b"), 1.0)
    assert table.serving() == {"posts": 2}
    table.join(instance("b").model_copy(update={"address": "127.0.0.1:9"}), 1.1)
    assert table.serving() == {"posts": 1}
    table.remove("b", RemovalCause.LEFT)
    table.drain("a")
    assert table.serving() == {}


# Addresses, probes, drains, causes.


def test_nobody_gets_traffic_at_an_address_that_was_not_dialled() -> None:
    """Joining again from another address starts anew; at the same one it does not."""
    table = ready()
    table.join(instance().model_copy(update={"address": "127.0.0.1:2"}), 1.0)
    assert state(table) is State.STARTING


def test_a_probe_of_the_address_before_says_nothing() -> None:
    """It came back elsewhere while the probe was on its way."""
    table = ready()
    table.record_probe("a", ProbeResult.REFUSED, 1.0, address="127.0.0.1:9")
    assert state(table) is State.READY
    table.record_probe("a", ProbeResult.REFUSED, 1.0, address="127.0.0.1:1")
    assert state(table) is None


def test_silent_ones_that_start_or_drain_are_probed_too() -> None:
    """They keep their state, and are lost when they are refused or silent for too long."""
    table = Membership()
    table.join(instance("starts"), 0.0)
    table.join(instance("drains"), 0.0)
    table.drain("drains")
    assert {item.id for item in table.expire(SUSPECT_AFTER)} == {"starts", "drains"}
    assert (state(table, "starts"), state(table, "drains")) == (State.STARTING, State.DRAINING)
    table.expire(LOST_AFTER)
    assert not table.instances


def test_who_asks_again_to_drain_is_told_again() -> None:
    """It has a new socket, and does not know whether followers have acknowledged."""
    table = ready()
    table.drain("a")
    table.take_changes()
    table.drain("a")
    assert [change.instance.state for change in table.take_changes()] == [State.DRAINING]


def test_a_lease_is_not_renewed_by_others() -> None:
    """An answered probe makes it ready again, but its own time goes on."""
    table = Membership()
    table.join(instance(), 0.0, lease=5.0)
    table.admit("a")
    table.record_probe("a", ProbeResult.SILENT, 1.0)
    table.record_probe("a", ProbeResult.ANSWERED, 4.0)
    assert state(table) is State.READY
    table.expire(5.0)
    assert state(table) is None


def test_only_so_many_are_probed_at_once_and_everybody_in_turn() -> None:
    """A registry that is cut off from a thousand does not dial a thousand twice a second."""
    table = crowd(3 * PROBES_AT_ONCE)
    probed = [item.id for step in range(3) for item in table.expire(SUSPECT_AFTER + step * 0.1)]
    assert len(probed) == len(set(probed)) == 3 * PROBES_AT_ONCE


def test_losses_are_counted_by_their_cause() -> None:
    """Left, refused, silent, a lease that ended, forced out."""
    table = ready("a", "b", "c", "d", "e")
    table.join(instance("f"), 0.0, lease=1.0)
    table.remove("a", RemovalCause.LEFT)
    table.record_probe("b", ProbeResult.REFUSED, 0.0)
    table.remove("c", RemovalCause.FORCED)
    table.heartbeat("d", None, LOST_AFTER)
    table.expire(1.0)
    table.expire(LOST_AFTER)
    assert table.joins == 6
    assert table.departures == dict.fromkeys(RemovalCause, 1)


def test_who_is_gone_is_known_until_followers_are_told() -> None:
    """Not one that is there, or that followers know to be gone."""
    table = ready("a", "b")
    table.drain("b")
    table.remove("a", RemovalCause.LEFT)
    assert [table.departed_from(id_) for id_ in ("a", "b", "c")] == ["posts", None, None]
    table.take_changes()
    assert table.departed_from("a") is None


def test_nothing_is_counted_of_services_that_are_gone() -> None:
    """Their names may come and go for ever."""
    table = Membership()
    for number in range(10):
        one = instance().model_copy(update={"service": f"s{number}"})
        table.join(one, 0.0)
        table.admit(one.id)
        assert table.serving() == {f"s{number}": 1}
        table.remove(one.id, RemovalCause.LEFT)
    assert not table._serving


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order: the rules that always hold."""

    ids = st.sampled_from("abcdef")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.stretched = 0.0
        self.table = Membership()
        self.said_ready: set[str] = set()
        self.heard: dict[str, float] = {}
        self.seen: dict[str, State] = {}

    def here(self) -> dict[str, State]:
        """Give the table as states."""
        return {item.id: item.state for item in self.table.instances}

    @rule(id_=ids, lease=st.sampled_from([None, 2.0, 20.0]), port=st.sampled_from("12"))
    def join(self, id_: str, lease: float | None, port: str) -> None:
        """Somebody joins, maybe again, maybe elsewhere."""
        known = self.table.get(id_)
        address = f"127.0.0.1:{port}"
        self.table.join(instance(id_).model_copy(update={"address": address}), self.now, lease)
        if known is None or known.address != address:
            self.said_ready.discard(id_)
        self.heard[id_] = self.now - self.stretched

    @rule(id_=ids)
    def heartbeat(self, id_: str) -> None:
        """Somebody is heard, and only who is there counts."""
        was_there = id_ in self.here()
        assert self.table.heartbeat(id_, Load(in_flight=1), self.now) is was_there
        self.heard[id_] = self.now - self.stretched

    @rule(id_=ids)
    def admit(self, id_: str) -> None:
        """Let the dial-back have worked."""
        self.table.admit(id_)
        self.said_ready |= {id_} & self.here().keys()

    @rule(id_=ids, result=st.sampled_from(ProbeResult))
    def probe(self, id_: str, result: ProbeResult) -> None:
        """Let a probe come back; after a refusal it is gone whatever it was."""
        self.table.record_probe(id_, result, self.now)
        assert result is not ProbeResult.REFUSED or id_ not in self.here()

    @rule(id_=ids, cause=st.sampled_from([RemovalCause.LEFT, RemovalCause.FORCED]))
    def remove(self, id_: str, cause: RemovalCause) -> None:
        """Take it out."""
        self.table.remove(id_, cause)
        assert id_ not in self.here()

    @rule(id_=ids)
    def drain(self, id_: str) -> None:
        """Let it drain: it gets nothing more, for good."""
        self.table.drain(id_)
        assert self.here().get(id_, State.DRAINING) is State.DRAINING

    @rule(seconds=st.floats(0.1, 12), late=st.floats(0, 12))
    def wait(self, seconds: float, late: float) -> None:
        """Time passes, some of it because the registry itself was late."""
        before, self.now = self.here(), self.now + seconds + late
        self.stretched += late
        probed = {item.id for item in self.table.expire(self.now, late)}
        lost = before.keys() - self.here().keys()
        assert not (lost and self.table.is_self_preserving)
        # the least patience that anybody asked for is that of the shortest lease
        assert all(self.now - self.stretched - self.heard[id_] >= 2.0 - 1e-6 for id_ in lost)
        assert probed <= self.here().keys()

    @rule()
    def tell(self) -> None:
        """Followers hear what changed."""
        for change in self.table.take_changes():
            self.seen.pop(change.instance.id, None)
            if change.why is None:
                self.seen[change.instance.id] = change.instance.state

    @invariant()
    def nobody_is_ready_on_its_own_word(self) -> None:
        """Only whom the registry dialled serves."""
        serving = {id_ for id_, state in self.here().items() if state in (State.READY, State.SUSPECT)}
        assert serving <= self.said_ready

    @invariant()
    def the_books_balance(self) -> None:
        """Who joined is there or went, by a cause that is counted."""
        assert self.table.joins - self.table.departures.total() == len(self.here())

    @invariant()
    def followers_are_told_all(self) -> None:
        """Add what they know to what is to be told to them: it is the table."""
        pending = self.table._changes
        known = {id_: state for id_, state in self.seen.items() if id_ not in pending}
        news = {id_: one.instance.state for id_, one in pending.items() if one.why is None}
        assert known | news == self.here()


TestLife = Life.TestCase
