"""Handlers' parameters are filled by name and annotation."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from blog.core.contract import Endpoint, Meta, Peers
from blog.core.errors import Invalid, NotFound
from blog.core.ids import Id, new_id
from blog.core.instance import Route
from blog.core.operator import OperatorCommand, Reason
from blog.core.view import View
from blog.runtime.binding import ArgumentSource, Binding, bind, bind_operator


class Draft(BaseModel):
    """A body."""

    text: str


class Shelf(View):
    """A view."""


def endpoint(handler: Any, pattern: str = "/books/{book_id}") -> Endpoint:
    """Declare `handler` at `pattern`."""
    return Endpoint("query", Route(method="GET", pattern=pattern), handler)


def everything(
    book_id: Id,
    draft: Draft,
    view: Shelf,
    meta: Meta,
    limit: Annotated[int, Field(ge=1, le=9)] = 5,
) -> None:
    """Take one of each."""


def test_every_parameter_has_its_source() -> None:
    """Path by name, body and view by class, the rest from the query string."""
    binding = bind(endpoint(everything))
    assert [(p.name, p.source) for p in binding.parameters] == [
        ("book_id", ArgumentSource.PATH),
        ("draft", ArgumentSource.BODY),
        ("view", ArgumentSource.VIEW),
        ("meta", ArgumentSource.META),
        ("limit", ArgumentSource.QUERY),
    ]
    assert binding.body is Draft


def filled(path: dict[str, str], query: dict[str, str]) -> dict[str, Any]:
    """Fill the text parameters of `everything`."""
    given = {ArgumentSource.BODY: None, ArgumentSource.VIEW: None, ArgumentSource.META: None}
    return bind(endpoint(everything)).arguments(path, query, given)


def test_text_is_read_as_its_annotation_says() -> None:
    """Defaults stand in for what is missing."""
    id_ = new_id()
    assert filled({"book_id": id_}, {"limit": "7"})["limit"] == 7
    assert filled({"book_id": id_}, {})["limit"] == 5


@pytest.mark.parametrize("book_id", ["__proto__", "create", "", "a\x00b", "1' OR '1'='1"])
def test_a_path_parameter_that_cannot_be_one_is_not_found(book_id: str) -> None:
    """There is nothing at such a path: 404, not 422."""
    with pytest.raises(NotFound):
        filled({"book_id": book_id}, {})


@pytest.mark.parametrize("limit", ["0", "10", "many", ""])
def test_a_bad_query_parameter_is_invalid(limit: str) -> None:
    """The answer names the parameter."""
    with pytest.raises(Invalid, match="limit"):
        filled({"book_id": new_id()}, {"limit": limit})


def test_two_bodies_are_a_mistake_at_import() -> None:
    """A request has one body."""

    def handler(one: Draft, other: Draft) -> None: ...

    with pytest.raises(TypeError, match="two bodies"):
        bind(endpoint(handler, "/books"))


def test_a_handler_without_parameters_needs_nothing() -> None:
    """The smallest handler."""

    def handler() -> None: ...

    assert bind(endpoint(handler, "/books")) == Binding(handler, ())


def burn(book_id: Id, view: Shelf, meta: Meta, reason: Reason = None) -> None:
    """Take what an operator command may take."""


def test_an_operator_command_takes_an_id_and_a_reason() -> None:
    """The first parameter as a part of a path is, the reason as text; the rest is given as always."""
    binding = bind_operator(OperatorCommand.of("burn", burn))
    assert [(p.name, p.source) for p in binding.parameters] == [
        ("book_id", ArgumentSource.PATH),
        ("view", ArgumentSource.VIEW),
        ("meta", ArgumentSource.META),
        ("reason", ArgumentSource.QUERY),
    ]
    given = {ArgumentSource.VIEW: None, ArgumentSource.META: None}
    id_ = new_id()
    assert binding.arguments({"book_id": id_}, {}, given)["reason"] is None
    assert binding.arguments({"book_id": id_}, {"reason": "null"}, given)["reason"] == "null"


def takes_a_body(book_id: Id, draft: Draft) -> None:
    """Take what is not sent."""


def takes_peers(book_id: Id, peers: Peers) -> None:
    """Take others."""


def takes_a_number(book_id: Id, pages: int) -> None:
    """Take what the command line cannot say."""


@pytest.mark.parametrize("handler", [takes_a_body, takes_peers, takes_a_number])
def test_an_operator_command_that_cannot_be_given_what_it_takes_is_a_mistake(handler: Any) -> None:
    """It is found when the instance starts, not when it is needed."""
    with pytest.raises(TypeError, match="cannot be given"):
        bind_operator(OperatorCommand.of("burn", handler))
