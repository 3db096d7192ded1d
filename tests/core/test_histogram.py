"""A histogram counts what is at most a bound; several add up, and Prometheus can read it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import HistogramMetricFamily

from blog.core.histogram import Histogram

BOUNDS = (0.1, 0.5, 1.0)
SECONDS = st.lists(st.floats(0, 10))


def of(*values: float) -> Histogram:
    """Make one of these observations."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    return histogram


def test_a_value_belongs_to_the_first_bound_that_is_not_below_it() -> None:
    """A bound belongs to its own bucket; what is over the last one has a bucket as well."""
    histogram = of(0.0, 0.1, 0.11, 1.0, 7.0)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.sum == pytest.approx(8.21)
    assert histogram.count == 5
    assert repr(histogram) == "<Histogram: 5 in 8.210>"


def test_prometheus_reads_it() -> None:
    """Each bucket holds those before it, under the names that it has always had."""
    assert of(0.1, 0.2, 7.0).cumulative() == [("0.1", 1), ("0.5", 2), ("1.0", 2), ("+Inf", 3)]
    family = HistogramMetricFamily("seconds", "Time.")
    family.add_metric((), buckets=of(0.1).cumulative(), sum_value=0.1)
    assert {sample.value for sample in family.samples} == {1, 0.1}


@given(SECONDS, SECONDS)
def test_those_of_several_processes_add_up(mine: list[float], theirs: list[float]) -> None:
    """As if one process had observed everything; and the earlier can be taken off again."""
    both = of(*mine) + of(*theirs)
    assert both.counts == of(*mine, *theirs).counts
    assert both.sum == pytest.approx(sum(mine) + sum(theirs))
    assert (both - of(*theirs)).counts == of(*mine).counts


def test_a_snapshot_stays_as_it_was() -> None:
    """The difference of two is what came between them."""
    histogram = of(0.2)
    before = histogram.copy()
    histogram.observe(0.7)
    assert before.counts == [0, 1, 0, 0]
    since = histogram - before
    assert since.counts == [0, 0, 1, 0]
    assert since.sum == pytest.approx(0.7)


def test_it_travels_as_numbers() -> None:
    """A worker writes counts and sum as JSON, the gateway makes it again of them."""
    counts, total = json.loads(json.dumps([of(0.3).counts, of(0.3).sum]))
    assert Histogram(BOUNDS, counts, total).cumulative() == of(0.3).cumulative()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.99, 0.0),
        ([0.05] * 4, 0.5, 0.05),
        ([0.05] * 50 + [0.3] * 50, 0.75, 0.3),
        ([0.3] * 100, 1.0, 0.5),
        ([0.3], 0.0, 0.1),
        ([5.0] * 10, 0.99, 1.0),
    ],
)
def test_a_quantile_is_estimated_within_its_bucket(
    values: list[float], share: float, expected: float
) -> None:
    """Evenly spread, from 0 on; what is over the last bound counts as that bound."""
    assert of(*values).quantile(share) == pytest.approx(expected)


def test_what_does_not_fit_is_refused() -> None:
    """Bounds that do not grow, counts of other bounds, a sum of two kinds, a share of more than all."""
    for bounds in ((), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="not valid bounds"):
            Histogram(bounds)
    with pytest.raises(ValueError, match="do not fit"):
        Histogram(BOUNDS, [0, 0, 0])
    for combine in (Histogram.__add__, Histogram.__sub__):
        with pytest.raises(ValueError, match="same bounds"):
            combine(of(1.0), Histogram((1.0, 2.0)))
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="not a share"):
            of(1.0).quantile(share)
