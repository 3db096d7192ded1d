"""Operator commands are declared as data, and orders are bounded."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from blog.core.contract import Service
from blog.core.operator import OperatorCommand, OperatorRequest


def burn(book_id: str) -> None:
    """Burn books.

    For good.
    """


def test_a_service_declares_them_and_leaves_functions_alone() -> None:
    """By name, with the first parameter as what they are about; no route is announced."""
    service = Service("library")
    assert service.operator("burn")(burn) is burn
    assert service.operators == {"burn": OperatorCommand("burn", burn, "book_id")}
    assert service.operators["burn"].summary == "Burn books."
    assert service.routes == ()


@pytest.mark.parametrize(
    ("name", "handler", "says"),
    [
        ("burn", burn, "twice"),
        ("Burn", burn, "small letters"),
        ("burn/all", burn, "small letters"),
        ("", burn, "small letters"),
        ("close", lambda: None, "id"),
    ],
)
def test_mistakes_are_found_at_import(name: str, handler: Callable[..., Any], says: str) -> None:
    """A name that could not be typed or sent, one that is taken, and a handler that takes no id."""
    service = Service("library")
    service.operator("burn")(burn)
    with pytest.raises(TypeError, match=says):
        service.operator(name)(handler)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"id": ""},
        {"id": "x" * 257},
        {"id": 7},
        {"id": "b", "reason": "x" * 501},
        {"id": "b", "reason": "a\x1b[31m"},
        {"id": "b", "reason": "two\nlines"},
    ],
)
def test_an_order_names_one_thing_and_gives_a_reason_in_a_line(fields: dict[str, Any]) -> None:
    """Both within bounds, the reason without control characters."""
    with pytest.raises(ValidationError):
        OperatorRequest.model_validate(fields)


def test_a_reason_may_be_left_out() -> None:
    """Then it is None."""
    assert OperatorRequest.model_validate({"id": "-x\n"}).reason is None
    assert OperatorRequest.model_validate({"id": "b", "reason": " null "}).reason == "null"
