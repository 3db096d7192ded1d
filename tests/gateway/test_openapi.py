"""One description of all."""

from datetime import UTC, datetime
from typing import Any

from blog.core.instance import Instance, Route
from blog.gateway.openapi import merge
from blog.gateway.routing import Router


def test_each_operation_comes_from_the_service_that_has_the_route() -> None:
    """What another service says about it is left out, and so is what nobody may reach."""
    instances = [
        Instance(
            id=name,
            service=name,
            address="127.0.0.1:1",
            started_at=datetime(2026, 1, day, tzinfo=UTC),
            routes=tuple(Route(method=method, pattern="/x/{id}") for method in methods),
        )
        for day, (name, methods) in enumerate({"a": ["GET"], "b": ["GET", "POST"]}.items(), start=1)
    ]
    documents: dict[str, dict[str, Any]] = {
        name: {
            "paths": {
                "/x/{id}": {"get": {"tags": [name]}, "post": {"tags": [name]}},
                "/events": {"get": {}},
            },
            "components": {"schemas": {f"{name}.Model": {}}},
        }
        for name in ("b", "a")
    }
    merged = merge(documents, Router(instances))
    assert merged["paths"] == {"/x/{id}": {"get": {"tags": ["a"]}, "post": {"tags": ["b"]}}}
    assert merged["components"]["schemas"].keys() == {"a.Model", "b.Model"}
    assert merged["openapi"] == "3.1.0"
