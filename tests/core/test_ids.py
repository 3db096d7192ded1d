"""Ids sort by time, and derived ids depend on nothing but their parts."""

import subprocess
import sys
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.ids import derived_id, new_id

parts = st.lists(st.one_of(st.text(), st.integers(0, 9)), max_size=4)


def test_new_ids_sort_in_the_order_they_were_made() -> None:
    """Within one process even ids of one millisecond sort strictly."""
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_new_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562 §5.7: version 7, variant 10."""
    value = UUID(new_id())
    assert (value.version, value.variant) == (7, "specified in RFC 4122")


def test_derived_ids_are_the_same_in_any_process() -> None:
    """Nothing of the process goes into them."""
    code = "from blog.core.ids import derived_id; print(derived_id('a', 'b', 1))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == derived_id("a", "b", 1)


@given(parts, parts)
def test_different_parts_give_different_ids(one: list[str | int], other: list[str | int]) -> None:
    """No two lists read the same, however their texts are cut."""
    same = [str(part) for part in one] == [str(part) for part in other]
    assert (derived_id(*one) == derived_id(*other)) is same


@pytest.mark.parametrize(("one", "other"), [(("ab", "c"), ("a", "bc")), (("1:a",), ("1", "a"))])
def test_parts_keep_their_borders(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Text moved from one part to the next is another id."""
    assert derived_id(*one) != derived_id(*other)
