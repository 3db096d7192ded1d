"""Which service answers, by tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.instance import Instance, Route, State
from blog.gateway import routing
from blog.gateway.routing import (
    REMEMBERED_ROUTES,
    REMEMBERED_SERVICES,
    NoSuchMethod,
    NoSuchPath,
    RouteConflict,
    RouteMatch,
    Router,
    RouteTable,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def instance(
    service: str, *routes: str, started: int = 0, number: int = 1, state: State = State.READY
) -> Instance:
    """Make an instance that declares `METHOD /pattern`, started so many seconds after the others."""
    declared = tuple(Route(method=m, pattern=p) for m, p in (route.split() for route in routes))
    return Instance(
        id=f"{service}-{number}",
        service=service,
        address="127.0.0.1:1",
        state=state,
        started_at=BEGIN + timedelta(seconds=started),
        routes=declared,
    )


BLOG = Router(
    [
        instance("posts", "POST /posts", "POST /posts/create"),
        instance("comments", "POST /posts/{post_id}/comments", "GET /posts/{id}/comments"),
        instance("query", "GET /posts", "GET /posts/{id}", "GET /feed.atom", "GET /"),
        instance("odd", "GET /{page}", "GET /events", "GET /v1/x", "GET /readyz/{x}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "service", "pattern"),
    [
        ("POST", "/posts", "posts", "/posts"),
        ("GET", "/posts", "query", "/posts"),
        ("HEAD", "/posts", "query", "/posts"),
        ("GET", "/", "query", "/"),
        ("POST", "/posts/create", "posts", "/posts/create"),
        ("GET", "/posts/create", "query", "/posts/{id}"),
        ("GET", "/posts/p1", "query", "/posts/{id}"),
        ("GET", "/posts/__proto__", "query", "/posts/{id}"),
        ("GET", "/posts/..%2f..%2fetc", "query", "/posts/{id}"),
        ("GET", "/posts/%00", "query", "/posts/{id}"),
        ("GET", "/posts/%ff%fe", "query", "/posts/{id}"),
        ("GET", "/posts/a%2Fb/comments", "comments", "/posts/{id}/comments"),
        ("GET", "/%70osts", "query", "/posts"),
        ("GET", "/feed.atom", "query", "/feed.atom"),
        ("GET", "/about", "odd", "/{page}"),
    ],
)
def test_the_most_specific_pattern_wins(method: str, path: str, service: str, pattern: str) -> None:
    """A literal segment comes before a parameter; HEAD goes where GET goes."""
    assert BLOG.match(method, path) == RouteMatch(service, pattern)


@pytest.mark.parametrize(
    "path",
    [
        "/posts/",
        "/posts//comments",
        "/posts/p1/comments/c1",
        "/posts/../events",
        "/posts/%2e%2e/comments",
        "/posts/./comments",
        "/events",
        "/%65vents",
        "/events/head",
        "/readyz",
        "/readyz/x",
        "/metrics",
        "/healthz",
        "/reactions",
        "/v1/services",
        "/v1/x",
        "*",
        "",
    ],
)
def test_what_nobody_declares_or_may_declare_is_not_there(path: str) -> None:
    """Inner paths are not reachable, not even through a parameter or by dot segments."""
    assert BLOG.match("GET", path) == NoSuchPath()


def test_every_pattern_that_fits_is_tried_in_order() -> None:
    """However deep they are: the literal first, then back to a parameter further left."""
    deep = "/x" * 250
    router = Router([instance("one", f"GET /a/b{deep}", f"PUT /a/{{p}}{deep}", f"POST /{{p}}/b{deep}")])
    for method, pattern in (("GET", "/a/b"), ("PUT", "/a/{p}"), ("POST", "/{p}/b")):
        assert router.match(method, f"/a/b{deep}") == RouteMatch("one", pattern + deep)
    assert router.match("PATCH", f"/a/b{deep}") == NoSuchMethod(("GET", "HEAD", "POST", "PUT"))
    assert router.match("GET", f"/a/b{deep}/x") == NoSuchPath()
    assert router.match("PUT", f"/a/{deep}") == NoSuchPath()
    assert router.match("GET", "/a" * 20_000) == NoSuchPath()


def test_another_method_on_a_known_path_tells_which_are_allowed() -> None:
    """Of all patterns that fit, with HEAD where GET is."""
    assert BLOG.match("DELETE", "/posts/create") == NoSuchMethod(("GET", "HEAD", "POST"))


def test_the_first_declaring_service_keeps_a_route() -> None:
    """The other one is listed as a conflict, whatever it calls its parameters."""
    router = Router(
        [
            instance("new", "GET /posts/{name}", "GET /new", started=5),
            instance("old", "GET /posts/{id}", started=1),
        ]
    )
    assert router.match("GET", "/posts/1") == RouteMatch("old", "/posts/{id}")
    assert router.match("GET", "/new") == RouteMatch("new", "/new")
    assert router.conflicts == [RouteConflict("GET", "/posts/{name}", "old", "new")]


def test_a_service_without_instances_keeps_its_routes() -> None:
    """Nobody there now is another answer than no such thing."""
    table = RouteTable()
    assert table.update([instance("posts", "POST /posts")])
    assert not table.update([])
    assert table.router.match("POST", "/posts") == RouteMatch("posts", "/posts")


def test_a_restarted_service_keeps_its_seniority() -> None:
    """Its new instances are younger than the rival's, it was there first all the same."""
    table = RouteTable()
    rival = instance("rival", "GET /x", started=5)
    table.update([instance("first", "GET /x", started=1), rival])
    table.update([instance("first", "GET /x", started=9, number=2), rival])
    assert table.router.match("GET", "/x") == RouteMatch("first", "/x")


def test_a_living_service_takes_the_route_of_one_that_is_gone() -> None:
    """A service that was renamed does not block its own successor."""
    table = RouteTable()
    rival = instance("rival", "GET /x", started=5)
    table.update([instance("first", "GET /x", started=1), rival])
    assert table.update([rival])
    assert table.router.match("GET", "/x") == RouteMatch("rival", "/x")


@pytest.mark.parametrize("pattern", ["/x/{id}", "/x/{other}"])
def test_an_owner_keeps_its_route_while_it_lives(pattern: str) -> None:
    """Whatever time another one has, under a name of its own or that of an older service."""
    table = RouteTable()
    owner, older = instance("owner", "GET /x/{id}", started=5), instance("older", "GET /y", started=1)
    table.update([owner, older])
    rivals = [
        instance("rival", f"GET {pattern}", "GET /new", started=-(10**9)),
        instance("older", f"GET {pattern}", started=1, number=9),
    ]
    table.update([owner, older, *rivals])
    assert table.router.match("GET", "/x/1") == RouteMatch("owner", "/x/{id}")
    assert table.router.match("GET", "/new") == RouteMatch("rival", "/new")
    assert {(one.kept_by, one.refused) for one in table.router.conflicts} == {
        ("owner", "rival"),
        ("owner", "older"),
    }
    table.update([owner, older, *rivals])
    assert table.router.match("GET", "/x/1") == RouteMatch("owner", "/x/{id}")


def test_an_owner_that_declares_its_route_no_more_has_lost_it() -> None:
    """A new version of it has left that to another service."""
    table = RouteTable()
    rival = instance("rival", "GET /x", started=1)
    table.update([instance("owner", "GET /x", started=5)])
    table.update([instance("owner", "GET /x", started=5), rival])
    assert table.router.match("GET", "/x") == RouteMatch("owner", "/x")
    table.update([instance("owner", "GET /y", started=9, number=2), rival])
    assert table.router.match("GET", "/x") == RouteMatch("rival", "/x")


def test_nobody_owns_a_route_before_the_table_is_complete() -> None:
    """After a restart instances come in any order; the registry's own order decides then."""
    table = RouteTable()
    younger, older = instance("younger", "GET /x", started=5), instance("older", "GET /x", started=1)
    table.update([younger], is_complete=False)
    table.update([younger, older], is_complete=True)
    assert table.router.match("GET", "/x") == RouteMatch("older", "/x")
    table.update([younger, older, instance("oldest", "GET /x", started=0)])
    assert table.router.match("GET", "/x") == RouteMatch("older", "/x")


def many_routes(count: int) -> list[str]:
    """Give so many different routes."""
    return [f"GET /many/{number}" for number in range(count)]


def test_a_conflict_is_found_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A joiner may bring a thousand of them, in several versions of its service."""
    compared = 0

    def count(one: RouteConflict, other: object) -> bool:
        nonlocal compared
        compared += 1
        return tuple.__eq__(one, other) is True

    monkeypatch.setattr(RouteConflict, "__eq__", count)
    routes = many_routes(500)
    rows = [instance("old", *routes), instance("new", *routes, started=1)]
    rows += [instance("new", *routes, f"GET /{number}", started=1, number=number) for number in (2, 3)]
    router = Router(rows)
    assert len(router.conflicts) == 500
    assert 0 < compared <= 4 * 500


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many declarations each router is made of."""
    sizes: list[int] = []

    class CountingRouter(Router):
        """A router that is counted."""

        def __init__(self, declared: Any, *others: Any) -> None:
            known = list(declared)
            sizes.append(len(known))
            super().__init__(known, *others)

    monkeypatch.setattr(routing, "Router", CountingRouter)
    return sizes


def test_a_router_is_made_once_for_what_routes_depend_on(built: list[int]) -> None:
    """Not for a state, a row that was read again, one more replica, or a service without routes."""
    table, rows = RouteTable(), [instance("things", "GET /x"), instance("rival", "GET /x", started=1)]
    assert table.update(rows)
    del built[:]
    same = [
        [one.model_copy(update={"state": State.SUSPECT}) for one in rows],
        [Instance.model_validate_json(one.model_dump_json()) for one in rows],
        [*rows, *(instance("things", "GET /x", number=number) for number in range(2, 50))],
        [*rows, instance("other")],
        rows,
    ]
    for changed in same:
        assert not table.update(changed)
    assert built == []
    assert table.update([*rows, instance("rival", "GET /y", started=1, number=2)])
    assert table.update(rows[1:])
    assert table.update([*rows, instance("third", "GET /x", started=-9)])
    assert table.router.match("GET", "/x") == RouteMatch("rival", "/x")
    assert built == [3, 2, 3]


def test_a_service_that_never_served_is_forgotten_at_once() -> None:
    """A joiner may come under ever new names."""
    table = RouteTable()
    for number in range(10):
        table.update([instance(f"s{number}", f"GET /{number}", state=State.STARTING)])
        assert table.router.match("GET", f"/{number}") == RouteMatch(f"s{number}", f"/{number}")
    assert table.update([])
    assert table.router.routes() == []
    assert not table._known
    table.update([instance("draining", "GET /x", state=State.DRAINING), instance("no-routes")])
    table.update([])
    assert not table._known


def test_so_many_services_are_remembered_the_older_first() -> None:
    """Whatever comes and goes later does not push out what was there before."""
    table = RouteTable()
    table.update([instance("posts", "POST /posts"), instance("page", "GET /posts")])
    for number in range(3 * REMEMBERED_SERVICES):
        table.update([instance(f"s{number}", f"GET /s{number}", started=1 + number)])
    table.update([])
    assert len(table._known) == REMEMBERED_SERVICES
    assert len(table.router.routes()) == REMEMBERED_SERVICES
    assert table.router.match("POST", "/posts") == RouteMatch("posts", "/posts")
    assert not any(one._rows for one in table._known.values())


def test_so_many_routes_are_remembered() -> None:
    """A few services may declare very many; one that has fewer is remembered all the same."""
    table = RouteTable()
    for number in range(10):
        routes = [f"GET /s{number}/{route}" for route in range(REMEMBERED_ROUTES // 3)]
        table.update([instance(f"s{number}", *routes, started=number)])
    table.update([instance("few", "GET /few", started=99)])
    table.update([])
    assert list(table._known) == ["s0", "s1", "s2", "few"]


@given(st.text())
def test_any_path_has_an_answer(path: str) -> None:
    """No path breaks routing."""
    assert isinstance(BLOG.match("GET", "/" + path), RouteMatch | NoSuchPath | NoSuchMethod)


def test_the_routes_can_be_read() -> None:
    """Repr and list show who has what."""
    router = Router([instance("posts", "POST /posts")])
    assert repr(router) == "<Router: POST /posts → posts>"
    assert router.routes() == [("POST", RouteMatch("posts", "/posts"))]
