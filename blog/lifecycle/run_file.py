"""Run file: where a running instance of this machine listens, for probes that start beside it.

`BLOG_DATA_DIR/run/instances/<id>.json`; it is there from binding until the end of the instance.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from blog.core.instance import Address, InstanceId
from blog.core.logs import get_logger

log = get_logger()


class RunFile(BaseModel):
    """One instance. `host` is the name of the machine or container whose `pid` it is."""

    id: InstanceId
    address: Address
    host: str
    pid: int

    @classmethod
    def mine(cls, instance_id: str, address: str) -> Self:
        """Describe an instance of this process."""
        return cls(id=instance_id, address=address, host=socket.gethostname(), pid=os.getpid())

    def is_alive(self) -> bool:
        """Tell whether its process may still run here."""
        return self.host == socket.gethostname() and Path(f"/proc/{self.pid}").exists()


@contextmanager
def run_file(data_dir: Path, instance_id: str, address: str) -> Iterator[None]:
    """Keep the file for the time of the body. An instance that may not write runs all the same."""
    path = _folder(data_dir) / f"{instance_id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    found = []
    for path in sorted(_folder(data_dir).glob("*.json")):
        with suppress(OSError, ValidationError):
            found.append(RunFile.model_validate_json(path.read_bytes()))
    return [item for item in found if item.is_alive()]


def _folder(data_dir: Path) -> Path:
    return data_dir / "run" / "instances"
