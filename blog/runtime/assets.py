"""Static files of a service: their types, their version, how long browsers keep them.

A page names its files under a version, a hash of the whole folder: files that import each other are
always of one deploy, and a file is requested once (RFC 8246). A path without version is revalidated.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aiohttp import hdrs, web

from blog.core.contract import Asset
from blog.core.errors import NotFound
from blog.core.web import revalidated

IMMUTABLE = "public, max-age=31536000, immutable"
"""The content at a path with this version never changes."""
NO_STORE = "no-store"
"""Another instance, of another deploy, would have sent different bytes."""
NO_CACHE = "no-cache"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def files_of(folder: Path) -> Mapping[str, bytes]:
    """Read the files of `folder` that are served, once: no request waits for a thread or a disk."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.suffix in _TYPES}


@cache
def version_of(folder: Path) -> str:
    """Return a version of the files of `folder`: a hash of their names and contents."""
    hashed = hashlib.sha256()
    for name, body in files_of(folder).items():
        hashed.update(f"{name}\0{len(body)}\0".encode() + body)
    return hashed.hexdigest()[:16]


def cache_control(requested: str | None, version: str) -> str:
    """Return the `Cache-Control` of a file that was requested with the version `requested`. Pure."""
    if requested is None:
        return NO_CACHE
    return IMMUTABLE if requested == version else NO_STORE


def send(request: web.Request, folder: Path, asset: Asset) -> web.StreamResponse:
    """Respond with a file of `folder`. Raises NotFound."""
    body = files_of(folder).get(asset.name)
    if body is None:
        raise NotFound(f"There is no file {asset.name}.")
    headers = {
        hdrs.CACHE_CONTROL: cache_control(asset.version, version_of(folder)),
        hdrs.CONTENT_TYPE: _TYPES[Path(asset.name).suffix],
    }
    return revalidated(request, web.Response(body=body, headers=headers))
