"""Catalog: a folder with a service.py is runnable. Imports only the one that is loaded.

Services are found by name, so that the platform depends on none of them. One that is broken is reported
in one line, and affects no other.
"""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from blog.core.errors import SettingsError
from blog.core.printable import printable

if TYPE_CHECKING:  # heavy; listing does without
    from blog.core.contract import Service

PACKAGE = "blog.services"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")  # as core/instance.py has it
_MAX_MESSAGE = 400


def names() -> list[str]:
    """List the names of all services, without importing any."""
    return sorted({folder.name for folder in folders() if _NAME.fullmatch(folder.name)})


def ignored() -> dict[str, str]:
    """Return the folders with a service.py that are not a service, and why."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for folder in folders():
        if not _NAME.fullmatch(folder.name):
            found[str(folder)] = "a service name has lowercase letters, digits and -, a letter first"
        elif folder.name in seen:
            found[str(folder)] = f"there is a service {folder.name} already"
        seen.add(folder.name)
    return found


def folders() -> list[Path]:
    """List the folders with a service.py, in the order in which they are looked for."""
    roots = (Path(root) for root in importlib.import_module(PACKAGE).__path__)
    files = (file for root in roots for file in sorted(root.glob("*/service.py")))
    return [file.parent for file in files if _is_file(file) and file.parent.name != "__pycache__"]


def load(name: str) -> "Service":
    """Import the service `name`: `service` in `blog/services/<name>/service.py`.

    Raises SettingsError when there is no such folder, when it cannot be imported, whatever it does
    then, or when it declares another name.
    """
    from blog.core.contract import Service  # noqa: PLC0415 - heavy

    if name not in names():
        raise SettingsError(f"There is no service {name!r}; there are: {', '.join(names())}.")
    try:
        service = getattr(importlib.import_module(f"{PACKAGE}.{name}.service"), "service", None)
    except KeyboardInterrupt:  # somebody does not want to wait for it
        raise
    except BaseException as error:  # noqa: BLE001 - also sys.exit() is no reason for others to end
        raise broken(name, error) from None
    if not isinstance(service, Service) or service.name != name:
        raise SettingsError(f"{_file(name)}: there must be service = Service({name!r})")
    return service


def broken(name: str, error: BaseException) -> SettingsError:
    """Make the error of a service that cannot be imported or run: file:line: what is wrong."""
    return SettingsError(f"{_location(name, error)}: {type(error).__name__}{message(error)}")


def _location(name: str, error: BaseException) -> str:
    """Return file and line: of a syntax error, else the last one in the service's own folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    file = _file(name)
    location, traceback = str(file), error.__traceback__
    while traceback is not None:
        source = traceback.tb_frame.f_code.co_filename
        if Path(source).is_relative_to(file.parent):
            location = f"{source}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return location


def message(error: BaseException) -> str:
    """Return the message of an error, in one line, with a colon before it; "" without one."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - an error whose own message fails
        text = ""
    line = printable(text, _MAX_MESSAGE)
    return f": {line}" if line else ""


def _file(name: str) -> Path:
    """Return the service's file, or where it should be."""
    found = (folder / "service.py" for folder in folders() if folder.name == name)
    return next(found, Path(*PACKAGE.split("."), name, "service.py"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # below a folder that this user may not look into
        return False
