"""What holds is what the last `at` before now said; clocks that change are no exception."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.master.scaling.schedule import ScheduleEntry, checked_cron, in_force, last, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
WORKDAY = (ScheduleEntry("0 10 * * *", 5), ScheduleEntry("0 1 * * *", 1))


def berlin(text: str, fold: int = 0) -> datetime:
    """Read what a clock in Berlin shows; `fold` 1 is the second time that it shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("now", "replicas"),
    [
        ("2026-01-15 00:59:59", 5),
        ("2026-01-15 01:00:00", 1),
        ("2026-01-15 09:59:59", 1),
        ("2026-01-15 10:00:00", 5),
        ("2026-01-15 10:05:00", 5),
        ("2026-07-15 10:05:00", 5),
        ("2026-07-15 09:59:59", 1),
    ],
)
def test_who_comes_at_five_past_scales_all_the_same(now: str, replicas: int) -> None:
    """Level-triggered: it does not matter whether anybody was there at ten."""
    found = in_force(WORKDAY, BERLIN, berlin(now))
    assert found is not None
    assert found.entry.replicas == replicas


def test_the_zone_counts() -> None:
    """Ten in Berlin is nine in UTC in winter, eight in summer."""
    assert last("0 10 * * *", BERLIN, datetime(2026, 1, 15, 9, 0, tzinfo=UTC)) == berlin(
        "2026-01-15 10:00"
    )
    assert last("0 10 * * *", BERLIN, datetime(2026, 7, 15, 8, 0, tzinfo=UTC)) == berlin(
        "2026-07-15 10:00"
    )


def test_at_the_same_time_the_one_further_down_wins() -> None:
    """As everywhere in a file that is read from top to bottom."""
    entries = (ScheduleEntry("0 10 * * *", 5), ScheduleEntry("0 10 * * 1", 9))
    monday, tuesday = berlin("2026-01-12 12:00"), berlin("2026-01-13 12:00")
    assert [
        found.entry.replicas for at in (monday, tuesday) if (found := in_force(entries, BERLIN, at))
    ] == [
        9,
        5,
    ]


def test_without_entries_nothing_holds() -> None:
    """And nothing comes."""
    assert in_force((), BERLIN, berlin("2026-01-12 12:00")) is None
    assert list(upcoming((), BERLIN, berlin("2026-01-12 12:00"))) == []


# In 2026 the clocks of Berlin go from 02:00 to 03:00 on 29 March, from 03:00 back to 02:00 on 25 October.
@pytest.mark.parametrize(
    ("at", "after", "times"),
    [
        # half past two does not exist on 29 March: it comes right after the gap
        (
            "30 2 * * *",
            berlin("2026-03-28 00:00"),
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        # it exists twice on 25 October: it comes the first time
        (
            "30 2 * * *",
            berlin("2026-10-24 12:00"),
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        # every half hour is every half hour
        (
            "*/30 * * * *",
            berlin("2026-10-25 02:00"),
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:00:00+01:00",
            ],
        ),
        # what is outside of the hour is not touched by it
        (
            "0 10 * * *",
            berlin("2026-03-28 12:00"),
            ["2026-03-29T10:00:00+02:00", "2026-03-30T10:00:00+02:00"],
        ),
    ],
)
def test_clocks_that_change_what_comes(at: str, after: datetime, times: list[str]) -> None:
    """A time that does not exist, or exists twice, comes once."""
    found = islice(upcoming([ScheduleEntry(at, 1)], BERLIN, after), len(times))
    assert [change.time.isoformat() for change in found] == times


@pytest.mark.parametrize(
    ("now", "since"),
    [
        (berlin("2026-03-29 01:59:59"), "2026-03-28T02:30:00+01:00"),
        (berlin("2026-03-29 03:00:00"), "2026-03-29T03:00:00+02:00"),
        (berlin("2026-03-29 03:10:00"), "2026-03-29T03:00:00+02:00"),
        (berlin("2026-10-25 02:29:59"), "2026-10-24T02:30:00+02:00"),
        (berlin("2026-10-25 02:30:00"), "2026-10-25T02:30:00+02:00"),
        # an hour later the clock shows ten past two once more: it has been half past already
        (berlin("2026-10-25 02:10:00", fold=1), "2026-10-25T02:30:00+02:00"),
        (berlin("2026-10-25 02:40:00", fold=1), "2026-10-25T02:30:00+02:00"),
    ],
)
def test_clocks_that_change_what_holds(now: datetime, since: str) -> None:
    """And what has come into force stays in force."""
    found = last("30 2 * * *", BERLIN, now)
    assert found is not None
    assert found.isoformat() == since


CRONS = st.builds(
    "{} {} * * {}".format,
    st.sampled_from(["0", "30", "*/20", "59"]),
    st.sampled_from(["0", "2", "3", "23", "*", "1-4"]),
    st.sampled_from(["*", "0", "1-5"]),
)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda it: it.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    st.lists(st.builds(ScheduleEntry, CRONS, st.integers(0, 9)), min_size=1, max_size=3),
    st.one_of(
        TIMES,
        st.integers(-7200, 7200).map(
            lambda s: datetime(2026, 10, 25, 1, tzinfo=UTC) + timedelta(seconds=s)
        ),
    ),
)
def test_what_comes_next_is_what_holds_then(entries: Sequence[ScheduleEntry], now: datetime) -> None:
    """Both ways of asking agree: at the time of a change it holds, just before it does not yet."""
    change = next(upcoming(entries, BERLIN, now))
    then = change.time.astimezone(UTC)
    assert then > now
    found = in_force(entries, BERLIN, then)
    assert found is not None
    assert found.time.astimezone(UTC) == then
    before, held = (in_force(entries, BERLIN, at) for at in (then - timedelta(seconds=1), now))
    assert before is not None
    assert (held is None) or before.time == held.time


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 10 * *", "five fields"),
        ("0 0 10 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute"),
        ("0 25 * * *", "hour"),
        ("0 0 31 2 *", "day-of-month"),
        ("ten * * * *", "minute"),
        ("", "five fields"),
    ],
)
def test_what_is_no_time(text: str, says: str) -> None:
    """It says which field, or that there are five of them."""
    with pytest.raises(ValueError, match=says):
        checked_cron(text)
