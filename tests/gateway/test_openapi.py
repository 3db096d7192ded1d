"""One description of all."""

import gzip
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from blog.core.instance import Instance, Route
from blog.core.net.http_client import client_session
from blog.core.net.instance_client import InstanceClient
from blog.gateway import openapi
from blog.gateway.openapi import collect, merge
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


async def test_a_description_that_cannot_be_read_is_left_out(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coding that nobody asked for, or more than a description can be: the others are merged."""
    monkeypatch.setattr(openapi, "_LIMIT", 100)
    answers = {
        "fine": web.json_response({"paths": {}}),
        "packed": web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
        "long": web.Response(body=b" " * 101 + b"{}"),
        "deep": web.Response(body=b"[" * 100),
        "list": web.json_response([]),
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return answers[request.headers["Blog-Instance"].partition("-")[0]]

    instance = await rig.instance(answer)
    for service in answers:
        rig.known(int(instance.address.rpartition(":")[2]), service)
    async with client_session() as http:
        found = await collect(InstanceClient(http), rig.member.discovery, answers)
    assert found == {"fine": {"paths": {}}}


@pytest.mark.parametrize(
    "document",
    [
        {"paths": 5},
        {"paths": {"/x": 5}},
        {"paths": {"/x": ["get"]}},
        {"paths": None, "components": 5},
        {"components": {"schemas": [1]}},
    ],
)
def test_a_description_of_another_shape_breaks_no_other(document: dict[str, Any]) -> None:
    """It has nothing to merge."""
    fine: dict[str, Any] = {"components": {"schemas": {"a.Model": {}}}}
    merged = merge({"odd": document, "fine": fine}, Router(()))
    assert (merged["paths"], merged["components"]) == ({}, fine["components"])
