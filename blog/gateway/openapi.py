"""OpenAPI: one description of the whole blog, merged from those of its services. Merging is pure.

An operation is merged only from the service that the gateway would send the request to.
"""

import asyncio
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic_core import from_json, to_json

from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.instance_client import InstanceClient, InstanceError
from blog.gateway.routing import RouteMatch, Router
from blog.registry.client.discovery import Discovery

PATH = "/openapi.json"
_TIMEOUT = 2.0
_LIMIT = 4 << 20  # bytes of one description
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

log = get_logger()


def merge(documents: Mapping[str, Mapping[str, Any]], router: Router) -> dict[str, Any]:
    """Merge `documents` (service → its OpenAPI 3.1) into one; `router` has the service of each."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for service, document in sorted(documents.items()):
        for pattern, operations in _mapping(document.get("paths")).items():
            for method, operation in _mapping(operations).items():
                if method in _METHODS and _has(router, service, method, pattern):
                    paths.setdefault(pattern, {})[method] = operation
        schemas |= _mapping(_mapping(document.get("components")).get("schemas"))
    return {
        "openapi": "3.1.0",
        "info": {"title": "blog", "version": "1"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }


async def describe(client: InstanceClient, discovery: Discovery, router: Router) -> bytes:
    """Return the description of all services in `router`, as JSON."""
    services = {match.service for _, match in router.routes()}
    return to_json(merge(await collect(client, discovery, services), router))


async def collect(
    client: InstanceClient, discovery: Discovery, services: Iterable[str]
) -> dict[str, Mapping[str, Any]]:
    """Fetch the description of each of `services` from one live instance; failures are left out."""
    documents: dict[str, Mapping[str, Any]] = {}

    async def fetch(instance: Instance) -> None:
        if document := await _fetch(client, instance):
            documents[instance.service] = document

    async with asyncio.TaskGroup() as group:
        for service in services:
            if serving := discovery.serving(service):
                group.create_task(fetch(serving[0]))
    return documents


async def _fetch(client: InstanceClient, instance: Instance) -> Mapping[str, Any] | None:
    try:
        response = await client.request(instance, "GET", PATH, timeout=_TIMEOUT, limit=_LIMIT)
        if response.status != HTTPStatus.OK:
            log.warning("openapi.missing", id=instance.id, reason=f"status {response.status}")
            return None
        document = from_json(response.body)
    except (InstanceError, ValueError) as error:
        log.warning("openapi.missing", id=instance.id, reason=repr(error))
        return None
    return document if isinstance(document, dict) else None


def _mapping(part: Any) -> Mapping[str, Any]:
    """Return the part of a description; an empty one if it is not shaped as OpenAPI has it."""
    return part if isinstance(part, dict) else {}


def _has(router: Router, service: str, method: str, pattern: str) -> bool:
    match = router.match(method.upper(), pattern)
    return isinstance(match, RouteMatch) and match.service == service
