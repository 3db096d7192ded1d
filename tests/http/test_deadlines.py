"""What must happen within a time."""

from blog.http.deadlines import Deadlines


def test_who_is_late_comes_out_in_order() -> None:
    """Once; who ended in time or began again does not."""
    table: Deadlines[str] = Deadlines(5.0)
    for at, who in enumerate("abc"):
        table.begin(who, float(at))
    table.begin("a", 3.0)
    table.end("b")
    table.end("nobody")
    assert (table.oldest(), len(table), "b" in table) == ("c", 2, False)
    assert table.due(6.9) == []
    assert table.due(7.0) == ["c"]
    assert table.due(8.0) == ["a"]
    assert (table.due(99.0), table.oldest(), table.all()) == ([], None, [])
