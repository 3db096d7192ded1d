"""Catalog: a folder with a service.py is runnable. Imports only the one that is asked for.

Services are found by name, so that the platform depends on none of them.
"""

import importlib
from pathlib import Path

from blog.core.contract import Service
from blog.core.errors import SettingsError

PACKAGE = "blog.services"


def names() -> list[str]:
    """List the services there are, by name, without importing any."""
    folders = (Path(root) for root in importlib.import_module(PACKAGE).__path__)
    return sorted(file.parent.name for folder in folders for file in folder.glob("*/service.py"))


def load(name: str) -> Service:
    """Import the service `name`: `service` in `blog/services/<name>/service.py`.

    Raises SettingsError when there is no such folder, or when it declares another name.
    """
    if name not in names():
        raise SettingsError(f"There is no service {name!r}; there are: {', '.join(names())}.")
    service = importlib.import_module(f"{PACKAGE}.{name}.service").service
    if not isinstance(service, Service) or service.name != name:
        raise SettingsError(f"blog/services/{name}/service.py must have service = Service({name!r})")
    return service
