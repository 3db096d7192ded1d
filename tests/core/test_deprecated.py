"""What authors of services wrote before still works, and says at their line how to write it now."""

import importlib
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core import authorship, contract, decision
from blog.core.deprecated import renamed_names
from blog.core.events import Event


class Rung(Event, key="bell"):
    """A bell rang."""

    bell: str


# as a type checker knows only the new names
Append: Any = decision.Append
Unchanged: Any = decision.Unchanged
Owned: Any = authorship.Owned
Service: Any = contract.Service

META = contract.Meta(request_id="r", now=datetime(2026, 1, 1, tzinfo=UTC), author_hash="a")
DECIDED = Append([], types=(Rung,))
UNCHANGED = Unchanged("b")
OWNED = Owned("b", "a", 1)
BELLS = Service("bells", lb_policy="least-request")

USES: dict[str, tuple[Callable[[], Any], Any]] = {
    "Service(turn=)": (lambda: Service("bells", turn="least-request"), BELLS),
    "Service(lb_policy='rotation')": (
        lambda: Service("bells", lb_policy="rotation"),
        Service("bells", lb_policy="round-robin"),
    ),
    "Service(turn='rotation')": (
        lambda: Service("bells", turn="rotation"),
        Service("bells", lb_policy="round-robin"),
    ),
    "Service, by position": (
        lambda: Service("bells", None, None, "rotation"),
        Service("bells", lb_policy="round-robin"),
    ),
    "Append._replace(among=)": (lambda: Append([])._replace(among=(Rung,)), DECIDED),
    "Service.turn": (lambda: BELLS.turn, "least-request"),
    "Append(among=)": (lambda: Append([], among=(Rung,)), DECIDED),
    "Append(among=), a list": (lambda: Append([], among=[Rung]), Append([], types=[Rung])),
    "Append.among": (lambda: DECIDED.among, (Rung,)),
    "Unchanged(answer=)": (lambda: Unchanged(answer="b"), UNCHANGED),
    "Unchanged.answer": (lambda: UNCHANGED.answer, "b"),
    "Owned(thing=)": (lambda: Owned(thing="b", author_hash="a", sequence=1), OWNED),
    "Owned.thing": (lambda: OWNED.thing, "b"),
    "Owned.is_of": (lambda: OWNED.is_of(META), True),
}
"""An old name: a use of it, and what that comes to."""

DECLARATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "query(hot=)": (
        lambda service: service.query("GET", "/bells", hot=True),
        lambda service: service.query("GET", "/bells", cache=True),
    ),
    "query(answer_timeout=)": (
        lambda service: service.query("GET", "/bells", answer_timeout=3.0),
        lambda service: service.query("GET", "/bells", response_timeout=3.0),
    ),
    "command(answer=)": (
        lambda service: service.command("POST", "/bells", answer=dict),
        lambda service: service.command("POST", "/bells", response=dict),
    ),
}
"""An old name of a decorator's parameter: a use of it, and the same with the new one."""

IMPORTS = {
    "blog.core.contract": ("PeerAnswer", "PeerResponse"),
    "blog.core.peers": ("PeerAnswer", "PeerResponse"),
    "blog.core.decision": ("Answer", "ResponseBuilder"),
    "blog.core.authorship": ("own", "authorize"),
    "blog.core.operator": ("Order", "OperatorRequest"),
    "blog.core.reactions": ("Delivery", "DeliveryRequest"),
    "blog.testing.harness": ("GatewayServer", "GatewayTestServer"),
}

BOTH: dict[str, Callable[[], Any]] = {
    "Service": lambda: Service("bells", turn="least-request", lb_policy="least-request"),
    "Service, one by position": lambda: Service("b", None, None, "least-request", turn="least-request"),
    "query": lambda: Service("bells").query("GET", "/bells", hot=True, cache=True),
    "command": lambda: Service("bells").command("POST", "/bells", answer=dict, response=dict),
    "Append": lambda: Append([], among=(), types=()),
    "Unchanged": lambda: Unchanged(answer="b", content="b"),
}


def endpoints(declare: Callable[[Any], Any]) -> list[contract.Endpoint]:
    """Declare something, and list what that made."""
    service = contract.Service("bells")
    declare(service)(list)
    return service.endpoints


def must_point_at(warned: pytest.WarningsRecorder, use: Callable[..., Any]) -> None:
    """Check that there was one warning, at the line of `use`."""
    [warning] = warned
    assert warning.filename == __file__
    assert warning.lineno in {line for *_, line in use.__code__.co_lines()}


@pytest.mark.parametrize("name", USES)
def test_an_old_name_works_and_warns_at_the_authors_line(name: str) -> None:
    """Once, and not somewhere within the platform."""
    use, expected = USES[name]
    with pytest.warns(DeprecationWarning, match=r"is now called .*; the old name goes in 1\.0") as warned:
        found = use()
    assert found == expected
    must_point_at(warned, use)


@pytest.mark.parametrize("name", DECLARATIONS)
def test_an_old_parameter_declares_the_same(name: str) -> None:
    """What a decorator was called with before."""
    old, new = DECLARATIONS[name]
    with pytest.warns(DeprecationWarning, match="is now called") as warned:
        declared = endpoints(old)
    assert declared == endpoints(new)
    must_point_at(warned, old)


@pytest.mark.parametrize("module", IMPORTS)
def test_an_old_name_can_be_imported(module: str) -> None:
    """It is the same thing."""
    old, new = IMPORTS[module]
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}") as warned:
        exec(f"from {module} import {old}", names := {"__name__": __name__})  # noqa: S102 - as authors do
    assert names[old] is getattr(importlib.import_module(module), new)
    [warning] = warned
    assert warning.filename == "<string>"


def test_a_module_has_no_other_names() -> None:
    """A typo is an error, as everywhere."""
    with pytest.raises(AttributeError, match=r"module 'blog\.core\.peers' has no attribute 'Pear'"):
        renamed_names("blog.core.peers", PeerAnswer="PeerResponse")("Pear")


@pytest.mark.parametrize("name", BOTH)
def test_both_names_at_once_are_a_mistake(name: str) -> None:
    """Nothing says which one is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match=r"give \w+, not \w+ as well|multiple values"):
            BOTH[name]()


def test_new_names_warn_of_nothing() -> None:
    """Warnings are errors in these tests: making and reading is enough."""
    assert Append([], types=(Rung,))._replace(types=()) == Append([])
    assert repr(Unchanged("b")) == "Unchanged(content='b', sequence=None)"
    assert Service("bells", lb_policy="round-robin").metadata == {}
    assert BELLS.metadata == {"turn": "least-request"}
