"""Run file: where a running instance of this machine listens, for probes that start beside it.

`BLOG_DATA_DIR/run/instances/<id>.json`; it is there from binding until the end of the instance. Where
that folder cannot be written, a private one in the temporary folder takes its place (`local_instances`).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from blog.core.files.atomic import write_atomically
from blog.core.instance import AddressStr, InstanceId
from blog.core.logs import get_logger
from blog.lifecycle.local_instances import began, files, folder_in, is_left_behind, is_ours, spare_dir

log = get_logger()


class RunFile(BaseModel):
    """One instance. `host` is the name of the machine or container where `pid` is valid.

    `began` distinguishes the process from a later one with the same pid: its start time, in clock ticks.
    """

    id: InstanceId
    address: AddressStr
    host: str
    pid: int
    began: str
    was_ready: bool = False
    """Whether it has been ready once; from then on a probe asks only whether it is alive."""

    @classmethod
    def of_this_process(cls, instance_id: str, address: str) -> Self:
        """Describe an instance of this process."""
        return cls(
            id=instance_id,
            address=address,
            host=socket.gethostname(),
            pid=os.getpid(),
            began=began(os.getpid()),
        )


class WrittenRunFile:
    """The run file of one instance; `path` is None where it cannot be written anywhere."""

    def __init__(self, run_file: RunFile) -> None:
        self.path: Path | None = None
        self._content = run_file

    def write_to(self, folder: Path) -> None:
        """Write it atomically, and remove those of instances that were killed. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        _remove_dead(folder)
        path = folder / f"{self._content.id}.json"
        write_atomically(path, self._content.model_dump_json(), is_durable=False)
        self.path = path

    def mark_ready(self) -> None:
        """Record that the instance has been ready once."""
        self._content = self._content.model_copy(update={"was_ready": True})
        if self.path is not None:
            with _warned("run_file.not_updated", self.path):
                self.write_to(self.path.parent)

    def remove(self) -> None:
        """Remove it."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<WrittenRunFile {self.path}>"


@contextmanager
def run_file(data_dir: Path, instance_id: str, address: str) -> Iterator[WrittenRunFile]:
    """Keep the file for the time of the body. An instance that cannot write it runs all the same."""
    written = WrittenRunFile(RunFile.of_this_process(instance_id, address))
    spare = Path(spare_dir(str(data_dir)))
    with _warned("run_file.not_written", data_dir, instead=str(spare)):
        written.write_to(_folder(data_dir))
    if written.path is None:
        with _warned("run_file.not_written", spare):
            _write_to_spare(written, spare)
    try:
        yield written
    finally:
        written.remove()
        for folder in (_folder(spare), _folder(spare).parent, spare):
            with suppress(OSError):  # others still have their files in it
                folder.rmdir()


def _write_to_spare(written: WrittenRunFile, spare: Path) -> None:
    """Write it to a private folder in the temporary folder. Raises OSError."""
    with suppress(FileExistsError):
        spare.mkdir(mode=0o700)
    if not is_ours(str(spare)):
        raise PermissionError(f"{spare} is not a private folder of this user")
    written.write_to(_folder(spare))


@contextmanager
def _warned(event: str, path: Path, **more: str) -> Iterator[None]:
    """Log an OSError of the body as a warning."""
    try:
        yield
    except OSError as error:
        log.warning(event, path=str(path), reason=str(error), **more)


def _remove_dead(folder: Path) -> None:
    """Remove the run files of instances of this machine that were killed."""
    for path in files(str(folder)):
        if is_left_behind(path):
            with suppress(OSError):  # it does no harm
                Path(path).unlink()


def _folder(data_dir: Path) -> Path:
    return Path(folder_in(str(data_dir)))
