"""Declaring is data: a service lists what it can do, and mistakes are found at import."""

import pytest

from blog.core.contract import Document, Endpoint, Kind, Service
from blog.core.events import Event
from blog.core.instance import Route


class Rung(Event, key="bell"):
    """A bell rang."""

    bell: str


def test_decorators_collect_and_leave_functions_alone() -> None:
    """A handler stays a plain function that tests can call."""
    service = Service("bells")

    @service.command("POST", "/bells", "/bells/ring")
    def ring() -> Rung:
        return Rung(bell="b")

    @service.reaction
    def hear(event: Rung) -> None:
        del event

    assert ring() == Rung(bell="b")
    assert [route.pattern for route in service.routes] == ["/bells", "/bells/ring"]
    assert list(service.reactions) == ["blog.Rung"]


def test_the_same_route_twice_is_a_mistake() -> None:
    """One route has one handler."""
    service = Service("bells")
    service.query("GET", "/bells")(list)
    with pytest.raises(TypeError, match="twice"):
        service.query("GET", "/bells")(list)


@pytest.mark.parametrize(
    ("kind", "method", "status"),
    [
        ("command", "POST", 201),
        ("command", "PUT", 200),
        ("command", "DELETE", 204),
        ("query", "GET", 200),
        ("page", "GET", 200),
        ("action", "POST", 303),
    ],
)
def test_success_has_one_status(kind: Kind, method: str, status: int) -> None:
    """Of a command it depends on the method: made, changed, or gone."""
    assert Endpoint(kind, Route(method=method, pattern="/bells"), list).status == status


def test_a_reaction_names_its_event() -> None:
    """Without the annotation nobody knows what it reacts to."""
    with pytest.raises(TypeError, match="annotate"):
        Service("bells").reaction(lambda: None)


def test_a_document_knows_its_type() -> None:
    """From the class line; what inherits has it too, others have their own."""

    class Feed(Document, content_type="text/x-feed"):
        """One."""

    class Longer(Feed):
        """More of it."""

    assert (Feed(b"x").content_type, Longer(b"x").content_type) == ("text/x-feed", "text/x-feed")
    assert Document(b"x").content_type == "application/octet-stream"


def test_a_query_may_be_cached() -> None:
    """Only one that says so."""
    service = Service("bells")
    service.query("GET", "/bells", cache=True)(list)
    service.query("GET", "/towers", response_timeout=3.0)(list)
    assert [endpoint.is_cached for endpoint in service.endpoints] == [True, False]
    assert [route.answer_timeout for route in service.routes] == [None, 3.0]
