"""What holds for every service that the catalog finds; a new folder is checked without an edit here."""

import ast
import inspect
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from blog.core.contract import PAGES, Endpoint, Service
from blog.core.errors import SettingsError
from blog.core.operator import OperatorCommand
from blog.core.view import View
from blog.runtime import catalog
from blog.runtime.binding import ArgumentSource, bind, bind_operator
from blog.runtime.openapi import describe
from blog.runtime.pages import ERROR_TEMPLATE

BROKEN: dict[str, str] = {}


def _loaded() -> Iterator[Service]:
    """Load what can be loaded: one that is broken fails a test of its own, and no other."""
    for name in catalog.names():
        try:
            yield catalog.load(name)
        except SettingsError as error:
            BROKEN[name] = error.detail


SERVICES = list(_loaded())
ENDPOINTS = [
    pytest.param(service, endpoint, id=f"{service.name}:{endpoint.route.method}{endpoint.route.pattern}")
    for service in SERVICES
    for endpoint in service.endpoints
]
OPERATOR_COMMANDS = [
    pytest.param(service, command, id=f"{service.name}:{command.name}")
    for service in SERVICES
    for command in service.operators.values()
]
VIEWS = [pytest.param(service.view, id=service.name) for service in SERVICES if service.view]
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
every_endpoint = pytest.mark.parametrize(("service", "endpoint"), ENDPOINTS)
every_operator_command = pytest.mark.parametrize(("service", "command"), OPERATOR_COMMANDS)
every_view = pytest.mark.parametrize("view", VIEWS)

MAX_LINES = 150


def sources(service: Service) -> list[Path]:
    """List the files of a service's folder."""
    folder = Path(str(files("blog.services"))) / service.name
    return sorted(folder.glob("*.py"))


@pytest.mark.parametrize("name", catalog.names())
def test_it_can_be_imported(name: str) -> None:
    """Else it says where and why, and the others are tested all the same."""
    assert BROKEN.get(name) is None


@every_service
def test_it_can_do_something(service: Service) -> None:
    """A service without endpoints and reactions would be a process for nothing."""
    assert service.endpoints or service.reactions


@every_service
def test_it_sees_only_core_and_events_of_others(service: Service) -> None:
    """A service imports core, its own folder, and other services' events."""
    for path in sources(service):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            for name in names:
                own = name.startswith(f"blog.services.{service.name}")
                others = name.startswith("blog.services.") and name.endswith(".events")
                fine = own or others or name.startswith("blog.core.") or not name.startswith("blog")
                assert fine, f"{path} imports {name}"


@every_service
def test_its_files_are_short(service: Service) -> None:
    """A folder that is known at a glance: no file over 150 lines."""
    for path in sources(service):
        assert len(path.read_text().splitlines()) <= MAX_LINES, path


@every_endpoint
def test_its_parameters_can_be_filled(service: Service, endpoint: Endpoint) -> None:
    """Every parameter has a source, and views are the service's own."""
    binding = bind(endpoint)
    for parameter in binding.parameters:
        if parameter.source is ArgumentSource.VIEW:
            assert parameter.annotation is service.view
        if parameter.source is ArgumentSource.CHANGES:
            assert endpoint.kind == "stream"


@every_endpoint
def test_handlers_with_a_view_never_wait(service: Service, endpoint: Endpoint) -> None:
    """They run on the view's reading thread: plain functions."""
    del service
    if bind(endpoint).has(ArgumentSource.VIEW):
        assert not inspect.iscoroutinefunction(endpoint.handler)


@every_endpoint
def test_who_asks_peers_waits_for_them(service: Service, endpoint: Endpoint) -> None:
    """Async and without a view, as are pages and actions, which can show what went wrong."""
    if bind(endpoint).has(ArgumentSource.PEERS) or endpoint.kind in PAGES:
        assert inspect.iscoroutinefunction(endpoint.handler)
        assert not bind(endpoint).has(ArgumentSource.VIEW)
    if endpoint.kind in PAGES:
        templates = Path(str(files("blog.services"))) / service.name / "templates"
        assert (templates / ERROR_TEMPLATE).is_file()


@every_endpoint
def test_it_is_described_for_others(service: Service, endpoint: Endpoint) -> None:
    """Every route is in the OpenAPI document, with a summary and its parameters."""
    operation = describe(service)["paths"][endpoint.route.pattern][endpoint.route.method.lower()]
    assert operation["summary"].endswith(".")
    named = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
    assert named == {part.strip("{}") for part in endpoint.route.pattern.split("/") if "{" in part}


@every_operator_command
def test_operators_can_do_what_it_declares(service: Service, command: OperatorCommand) -> None:
    """Its parameters can be filled, it does not wait, and it says in a sentence what it does."""
    binding = bind_operator(command)
    assert binding.parameters[0].name == command.subject
    for parameter in binding.parameters:
        if parameter.source is ArgumentSource.VIEW:
            assert parameter.annotation is service.view
    assert not inspect.iscoroutinefunction(command.handler)
    assert (command.handler.__doc__ or "").splitlines()[0].endswith(".")


@every_operator_command
def test_no_route_leads_to_what_operators_do(service: Service, command: OperatorCommand) -> None:
    """Neither announced nor described: the public port cannot reach it."""
    assert command.handler not in [endpoint.handler for endpoint in service.endpoints]
    assert not any(route.pattern.startswith(("/v1", "/{")) for route in service.routes)
    assert not any(path.startswith("/v1") for path in describe(service)["paths"])


@every_view
def test_its_tables_can_be_made(view: type[View]) -> None:
    """The schema is SQL that SQLite takes, and its tables are strict (an index of words has no types)."""
    db = sqlite3.connect(":memory:")
    db.executescript(view.schema)
    tables = db.execute(
        "SELECT name, strict FROM pragma_table_list"
        " WHERE type = 'table' AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"
    ).fetchall()
    db.close()
    assert tables
    assert all(is_strict for _, is_strict in tables)


@every_view
def test_it_is_built_from_events(view: type[View]) -> None:
    """A view that applies nothing would stay empty."""
    assert view.appliers
