"""One OpenAPI document of the whole blog, merged from what a living instance of each service says."""

import asyncio
import json
from collections.abc import Collection
from typing import Any

from multidict import CIMultiDict

from blog.core.logs import get_logger
from blog.gateway.upstream import Outgoing, Upstream, UpstreamError
from blog.registry.discovery import Discovery

PATH = "/openapi.json"

log = get_logger()


async def document(discovery: Discovery, upstream: Upstream, services: Collection[str]) -> dict[str, Any]:
    """Ask one instance of each of `services`; who does not answer is left out."""
    parts = await asyncio.gather(*(_part(discovery, upstream, name) for name in sorted(services)))
    return merged([part for part in parts if part is not None])


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge documents: of two operations at the same place, the first one stays."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for part in parts:
        schemas |= part.get("components", {}).get("schemas", {})
        for pattern, operations in part.get("paths", {}).items():
            paths[pattern] = operations | paths.get(pattern, {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "blog", "version": "1"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }


async def _part(discovery: Discovery, upstream: Upstream, service: str) -> dict[str, Any] | None:
    instance = discovery.next(service)
    if instance is None:
        return None
    try:
        async with upstream.send(instance, Outgoing("GET", PATH, CIMultiDict(), None)) as answer:
            part = json.loads(await answer.content.read(-1))
    except (UpstreamError, ValueError) as error:
        log.warning("openapi.left_out", service=service, why=str(error))
        return None
    return part if isinstance(part, dict) else None
