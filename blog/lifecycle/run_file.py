"""Run file: where a running instance of this machine listens, for probes that start beside it.

`BLOG_DATA_DIR/run/instances/<id>.json`; it is there from binding until the end of the instance.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from blog.core.instance import Address, InstanceId
from blog.core.logs import get_logger

log = get_logger()

_START_TIME = 22 - 3  # of the fields behind the name
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - nothing is bound here
_UNIQUE = re.compile(
    r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
)  # what is behind the service in an id


class RunFile(BaseModel):
    """One instance. `host` is the name of the machine or container whose `pid` it is.

    `began` tells the process from a later one with the same pid: the kernel's start time, in ticks.
    """

    id: InstanceId
    address: Address
    host: str
    pid: int
    began: str

    @classmethod
    def mine(cls, instance_id: str, address: str) -> Self:
        """Describe an instance of this process."""
        return cls(
            id=instance_id,
            address=address,
            host=socket.gethostname(),
            pid=os.getpid(),
            began=began(os.getpid()),
        )

    @property
    def service(self) -> str:
        """The service that it is an instance of: `posts-archive` is not `posts`."""
        return _UNIQUE.sub("", self.id)

    @property
    def own_address(self) -> str:
        """Where this machine dials it: one that listens everywhere is at the loopback address too."""
        host, _, port = self.address.rpartition(":")
        return f"{_LOOPBACK.get(host, host)}:{port}"

    def is_alive(self) -> bool:
        """Tell whether its process still runs here."""
        return self.host == socket.gethostname() and self.began == began(self.pid) != ""


@contextmanager
def run_file(data_dir: Path, instance_id: str, address: str) -> Iterator[None]:
    """Keep the file for the time of the body. An instance that may not write runs all the same."""
    path = _folder(data_dir) / f"{instance_id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(data_dir)
        path.write_text(RunFile.mine(instance_id, address).model_dump_json())
    except OSError as error:
        log.warning("run_file.not_written", path=str(path), why=str(error))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def living(data_dir: Path) -> list[RunFile]:
    """List the instances that may run here; files of those that were killed are passed over."""
    return [item for item in _all(data_dir) if item.is_alive()]


def _all(data_dir: Path) -> Iterator[RunFile]:
    """Read every file; one that was cut short by a full disk is none."""
    for path in sorted(_folder(data_dir).glob("*.json")):
        with suppress(OSError, ValidationError):
            yield RunFile.model_validate_json(path.read_bytes())


def _remove_dead(data_dir: Path) -> None:
    """Remove what instances of this machine left behind when they were killed."""
    for item in _all(data_dir):
        if item.host == socket.gethostname() and not item.is_alive():
            (_folder(data_dir) / f"{item.id}.json").unlink(missing_ok=True)


def began(pid: int) -> str:
    """Return when the process began (proc(5), field 22 of stat); "" when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the name before it, in parentheses, may hold spaces
    return stat.rpartition(")")[2].split()[_START_TIME]


def _folder(data_dir: Path) -> Path:
    return data_dir / "run" / "instances"
