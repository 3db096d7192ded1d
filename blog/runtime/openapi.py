"""OpenAPI 3.1 made from what a service declares. Pure; the gateway merges those of all services."""

import re
from http import HTTPStatus
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from blog.core.contract import Document, Endpoint, Page, Service
from blog.core.web import PROBLEM_TYPE, SEQUENCE_HEADER
from blog.runtime.binding import ArgumentSource, Binding, Parameter, bind
from blog.runtime.streams import LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER

_MEDIA = {"stream": "text/event-stream", "page": "text/html", "action": "text/html"}
_TAKES = {"action": "application/x-www-form-urlencoded"}
_DEFS = "#/components/schemas/"
_RESUMES = [
    {
        "name": name,
        "in": where,
        "required": False,
        "description": "The id of the last event that was received: missed events come first.",
        "schema": {"type": "string"},
    }
    for name, where in ((LAST_EVENT_ID, "header"), (LAST_EVENT_ID_PARAMETER, "query"))
]
_SEQUENCE = {
    "description": "The sequence of what was written: reads that send it as Blog-After include it.",
    "schema": {"type": "integer", "minimum": 1},
}


def describe(service: Service) -> dict[str, Any]:
    """Describe the public routes of `service`. Schemas are named `<service>.<Model>`."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in service.endpoints:
        operation = _operation(service, endpoint, schemas)
        paths.setdefault(endpoint.route.pattern, {})[endpoint.route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(service: Service, endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    binding = bind(endpoint)
    slug = re.sub(r"\W+", "_", endpoint.route.pattern).strip("_")
    operation: dict[str, Any] = {
        "operationId": f"{service.name}_{endpoint.route.method.lower()}_{slug}",
        "summary": (endpoint.handler.__doc__ or endpoint.handler.__name__).strip().splitlines()[0],
        "tags": [service.name],
        "parameters": _parameters(binding) + (_RESUMES if endpoint.kind == "stream" else []),
        "responses": {
            str(endpoint.status): _response(service, endpoint, schemas),
            "default": {
                "description": "An error (RFC 9457).",
                "content": {PROBLEM_TYPE: {"schema": {"type": "object"}}},
            },
        },
    }
    if binding.body is not None:
        schema = _schema(service, binding.body, schemas)
        operation["requestBody"] = {
            "required": True,
            "content": {_TAKES.get(endpoint.kind, "application/json"): {"schema": schema}},
        }
    return operation


def _parameters(binding: Binding) -> list[dict[str, Any]]:
    return [
        {
            "name": parameter.name,
            "in": "path" if parameter.source is ArgumentSource.PATH else "query",
            "required": parameter.source is ArgumentSource.PATH,
            "schema": _parameter_schema(parameter),
        }
        for parameter in binding.parameters
        if parameter.source in (ArgumentSource.PATH, ArgumentSource.QUERY)
    ]


def _parameter_schema(parameter: Parameter) -> dict[str, Any]:
    assert parameter.adapter is not None
    return parameter.adapter.json_schema()


def _response(service: Service, endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    headers = {"headers": {SEQUENCE_HEADER: _SEQUENCE}} if endpoint.kind == "command" else {}
    if endpoint.status == HTTPStatus.NO_CONTENT:
        return {"description": "Done.", **headers}
    media, schema = _MEDIA.get(endpoint.kind, "application/json"), {}
    returned = get_type_hints(endpoint.response or endpoint.handler).get("return")
    if isinstance(returned, type) and issubclass(returned, Document):
        media, schema = returned.content_type, {"type": "string"}
    elif endpoint.kind not in _MEDIA and returned is not Page:
        schema = _schema(service, returned, schemas)
    return {"description": "The response.", **headers, "content": {media: {"schema": schema}}}


def _schema(service: Service, annotation: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of `annotation`; models go to `schemas` and are referred to."""
    try:
        schema = TypeAdapter(annotation).json_schema(ref_template=f"{_DEFS}{service.name}.{{model}}")
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {}
    definitions = schema.pop("$defs", {})
    schemas.update({f"{service.name}.{name}": value for name, value in definitions.items()})
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        name = f"{service.name}.{annotation.__name__}"
        schemas[name] = schema
        return {"$ref": _DEFS + name}
    return schema
