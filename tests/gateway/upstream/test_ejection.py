"""Who is left out, and for how long."""

import pytest

from blog.gateway.upstream.ejection import Ejection

FOUR = ("a", "b", "c", "d")


def fail(
    ejection: Ejection, id_: str, peers: tuple[str, ...], now: float, times: int = 5
) -> float | None:
    """Let `id_` fail so often; return what came of the last one."""
    return [ejection.record_failure(id_, peers, now) for _ in range(times)][-1]


def test_five_failures_in_a_row_put_an_instance_out() -> None:
    """Four do not, and neither do five with a success between."""
    ejection = Ejection()
    assert fail(ejection, "a", FOUR, 0.0, times=4) is None
    ejection.record_success("a")
    assert fail(ejection, "a", FOUR, 0.0, times=4) is None
    assert ejection.record_failure("a", FOUR, 0.0) == 5.0
    assert ejection.ejected(4.9) == {"a"}
    assert ejection.ejected(5.0) == set()


def test_it_is_out_longer_each_time() -> None:
    """5 s, 10 s, 15 s; from the start again once it did well for as long as it was out."""
    ejection = Ejection()
    assert fail(ejection, "a", FOUR, 0.0) == 5.0
    assert fail(ejection, "a", FOUR, 5.0) == 10.0
    assert fail(ejection, "a", FOUR, 15.0) == 15.0
    assert fail(ejection, "a", FOUR, 46.0) == 5.0


@pytest.mark.parametrize(("peers", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_service_is_out(peers: int, most: int) -> None:
    """And never the last one."""
    ejection = Ejection()
    ids = tuple(str(n) for n in range(peers))
    for id_ in ids:
        fail(ejection, id_, ids, 0.0)
    assert len(ejection.ejected(0.0)) == most


def test_who_is_gone_is_forgotten() -> None:
    """Ids are never used again."""
    ejection = Ejection()
    fail(ejection, "a", FOUR, 0.0)
    ejection.retain(["b"])
    assert repr(ejection) == "<Ejection: none>"
