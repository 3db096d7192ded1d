"""Local instances: those that run on this machine, according to their run files.

`blog healthcheck` starts every few seconds in every container, and pays for each import of this file:
only the light part of the standard library. A run file may be half written, left behind by a
killed process, or hold anything at all: one that does not describe a running process is skipped.
"""

import json
import os
import re
import socket
import stat
import zlib
from collections.abc import Iterator

from blog.core.files.regular_file import read_regular_file
from blog.core.net.address import Address

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNIQUE = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""The part of an id after the service."""
_MAX_SIZE = 16 << 10
# JSON that is nested too deep is a RecursionError; one that is not an object, TypeError or AttributeError
_INVALID = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
_MAX_PID = 2**31 - 1
_START_TIME = 22 - 3  # of the fields after the name, which begin with the third
_ENDED = ("Z", "X")  # it only waits for its parent to ask how it ended


class LocalInstance:
    """One instance. `was_ready`: it has been ready at least once since it started."""

    __slots__ = ("address", "id", "was_ready")

    def __init__(self, id_: str, address: str, *, was_ready: bool = False) -> None:
        self.id = id_
        self.address = address
        self.was_ready = was_ready

    @property
    def service(self) -> str:
        """The service of the instance; `posts-archive` is not `posts`."""
        return _UNIQUE.sub("", self.id)

    @property
    def own_address(self) -> str:
        """Where this machine dials it: at loopback, if it listens on every address."""
        return str(Address.parse(self.address).local)

    def __repr__(self) -> str:
        """Show the id and the address."""
        return f"<LocalInstance {self.id} at {self.address}>"


def running(data_dir: str) -> list[LocalInstance]:
    """List the instances that run here, of the blog whose data is in `data_dir`."""
    folders = [folder_in(data_dir)]
    spare = spare_dir(data_dir)
    if is_ours(spare):
        folders.append(folder_in(spare))
    found = [read(path) for folder in folders for path in files(folder)]
    return [instance for instance in found if instance is not None]


def folder_in(data_dir: str) -> str:
    """Return the folder of the run files."""
    return os.path.join(data_dir, "run", "instances")  # noqa: PTH118 - pathlib is slow to import


def spare_dir(data_dir: str) -> str:
    """Return the folder for run files of this user that cannot be written to `data_dir`."""
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - `is_ours` says whether it is used
    try:
        whole = os.path.abspath(data_dir)  # noqa: PTH100
    except OSError:  # the working directory was removed
        whole = data_dir
    name = f"blog-{os.geteuid()}-{zlib.crc32(os.fsencode(whole)):08x}"
    return os.path.join(temporary, name)  # noqa: PTH118


def is_ours(folder: str) -> bool:
    """Return whether only this user can have written to `folder`."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    is_private = found.st_mode & 0o077 == 0 and found.st_uid == os.geteuid()
    return is_private and stat.S_ISDIR(found.st_mode)


def files(folder: str) -> Iterator[str]:
    """List the run files in `folder`; none where it cannot be read."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return
    for name in names:
        if name.endswith(".json"):
            yield os.path.join(folder, name)  # noqa: PTH118


def read(path: str) -> LocalInstance | None:
    """Read one run file; None if it does not describe a process that runs here."""
    try:
        record = json.loads(read_regular_file(path, _MAX_SIZE))
        id_, address = record["id"], record["address"]
        Address.parse(address)
        is_valid = _ID.fullmatch(id_) and _is_here(record) and _is_running(record)
        was_ready = record.get("was_ready") is True
    except _INVALID:
        return None
    return LocalInstance(id_, address, was_ready=was_ready) if is_valid else None


def is_left_behind(path: str) -> bool:
    """Return whether a run file describes a process of this machine that has ended."""
    try:
        record = json.loads(read_regular_file(path, _MAX_SIZE))
        return isinstance(record["pid"], int) and _is_here(record) and not _is_running(record)
    except _INVALID:
        return False


def _is_here(record: dict[str, object]) -> bool:
    return record["host"] == socket.gethostname()


def _is_running(record: dict[str, object]) -> bool:
    return began(record["pid"]) == record["began"] != ""


def began(pid: object) -> str:
    """Return when the process began (proc(5), field 22 of stat); "" when none with this id runs."""
    if type(pid) is not int or not 0 < pid <= _MAX_PID:
        return ""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return ""
    # the name before them, in parentheses, may hold spaces
    fields = text.rpartition(")")[2].split()
    return "" if not fields or fields[0] in _ENDED else fields[_START_TIME]
