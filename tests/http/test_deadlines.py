"""What must happen within a time."""

from blog.http.deadlines import Deadlines


def test_who_is_late_comes_out_in_order() -> None:
    """Once; who ended in time or began again does not."""
    table: Deadlines[str] = Deadlines(5.0)
    for at, item in enumerate("abc"):
        table.start(item, float(at))
    table.start("a", 3.0)
    table.cancel("b")
    table.cancel("nobody")
    assert (table.oldest(), len(table), "b" in table) == ("c", 2, False)
    assert table.pop_expired(6.9) == []
    assert table.pop_expired(7.0) == ["c"]
    assert table.pop_expired(8.0) == ["a"]
    assert (table.pop_expired(99.0), table.oldest(), len(table)) == ([], None, 0)
