"""A row that cannot be read costs only itself."""

from typing import Any

import pytest
from pydantic import BaseModel

from blog.core.row_reader import MAX_LINES, fields, read_rows


class Numbered(BaseModel):
    """A row."""

    id: str
    number: int


@pytest.mark.parametrize(
    "odd",
    [None, 1, "x", [], {}, {"id": "odd"}, {"id": "odd", "number": "n/a"}, {"id": ["odd"], "number": 1}],
)
def test_the_others_are_read(odd: Any) -> None:
    """And a line says which one is not."""
    found = read_rows([{"id": "a", "number": 1}, odd, {"id": "b", "number": 2}], Numbered.model_validate)
    assert [row.id for row in found.rows] == ["a", "b"]
    [line] = found.passed_over
    assert line.startswith(("row 2: ", "odd: "))


@pytest.mark.parametrize(
    "error", [KeyError("x"), OverflowError(), RecursionError("deep"), AttributeError("y")]
)
def test_whatever_is_raised(error: Exception) -> None:
    """It is the row's."""

    def parse(row: int) -> int:
        if row == 2:
            raise error
        return row

    found = read_rows([1, 2, 3], parse)
    assert found.rows == [1, 3]
    assert len(found.passed_over) == 1


@pytest.mark.parametrize("rows", [None, 1, "text", b"bytes", {"a": 1}])
def test_what_is_no_list_has_no_rows(rows: object) -> None:
    """And says so."""
    assert read_rows(rows, fields) == ([], ["it is not a list"])


def test_a_line_about_a_row_is_a_line() -> None:
    """Its name is what it calls itself."""
    found = read_rows([{"id": "a\x1b[2J\nb" + "x" * 500}], Numbered.model_validate)
    [line] = found.passed_over
    assert line.isprintable()
    assert len(line) < 300


def test_so_many_lines_name_what_cannot_be_read() -> None:
    """The others are counted."""
    found = read_rows(
        [{"id": f"odd-{number}"} for number in range(MAX_LINES + 7)], Numbered.model_validate
    )
    assert len(found.passed_over) == MAX_LINES + 1
    assert found.passed_over[-1] == "and 7 more"
    assert len(read_rows([None] * MAX_LINES, Numbered.model_validate).passed_over) == MAX_LINES
