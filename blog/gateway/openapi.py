"""OpenAPI: one description of the whole blog, merged from what each service says. Merging is pure.

An operation is taken over only from the service that the gateway would send the request to.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json

from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.http_client import read_response
from blog.core.web import INSTANCE_HEADER
from blog.gateway.routing import RouteMatch, Router
from blog.registry.client.discovery import Discovery

PATH = "/openapi.json"
_TIMEOUT = 2.0
_LIMIT = 4 << 20  # bytes of one description
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

log = get_logger()


def merge(documents: Mapping[str, Mapping[str, Any]], router: Router) -> dict[str, Any]:
    """Merge `documents` (service → its OpenAPI 3.1) into one; `router` tells who has which route."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for service, document in sorted(documents.items()):
        for pattern, operations in document.get("paths", {}).items():
            for method in _METHODS:
                if method in operations and _has(router, service, method, pattern):
                    paths.setdefault(pattern, {})[method] = operations[method]
        schemas |= document.get("components", {}).get("schemas", {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "blog", "version": "1"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }


def render(document: Mapping[str, Any]) -> bytes:
    """Write a description as JSON."""
    return to_json(document)


async def collect(
    http: aiohttp.ClientSession, discovery: Discovery, services: Iterable[str]
) -> dict[str, Mapping[str, Any]]:
    """Ask one live instance of each of `services` what it offers; who does not say is left out."""
    documents: dict[str, Mapping[str, Any]] = {}

    async def ask(instance: Instance) -> None:
        if document := await _fetch(http, instance):
            documents[instance.service] = document

    async with asyncio.TaskGroup() as group:
        for service in services:
            if serving := discovery.serving(service):
                group.create_task(ask(serving[0]))
    return documents


async def _fetch(http: aiohttp.ClientSession, instance: Instance) -> Mapping[str, Any] | None:
    try:
        async with (
            asyncio.timeout(_TIMEOUT),
            http.get(
                f"http://{instance.address}{PATH}",
                headers={INSTANCE_HEADER: instance.id},
                allow_redirects=False,
                raise_for_status=True,
            ) as answer,
        ):
            document = from_json(await read_response(answer, _LIMIT))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.warning("openapi.missing", id=instance.id, why=repr(error))
        return None
    return document if isinstance(document, dict) else None


def _has(router: Router, service: str, method: str, pattern: str) -> bool:
    match = router.match(method.upper(), pattern)
    return isinstance(match, RouteMatch) and match.service == service
