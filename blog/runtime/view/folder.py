"""View folder: where a service keeps its view. If it cannot be written, the view is built elsewhere.

A view can be built from the log at any time, so a data directory that cannot be used is no reason not to
run: a temporary folder replaces it, and is removed at the end.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from blog.core.files.data_dir import reason, unusable
from blog.core.files.lock import FileLock
from blog.core.logs import get_logger

log = get_logger()


@asynccontextmanager
async def view_folder(data_dir: Path, service: str) -> AsyncIterator[Path]:
    """Yield the folder of the service in `data_dir`, or a temporary one, which is logged.

    Raises SettingsError if neither can be written.
    """
    folder = data_dir / service
    wrong = await asyncio.to_thread(what_is_wrong, folder)
    if wrong is None:
        yield folder
        return
    try:
        spare = tempfile.TemporaryDirectory(prefix=f"blog-{service}-", ignore_cleanup_errors=True)
    except OSError:
        raise unusable(data_dir, folder, wrong) from None
    with spare as path:
        log.warning("data_dir.fallback", path=str(folder), reason=reason(wrong), instead=path)
        yield Path(path)


def what_is_wrong(folder: Path) -> Exception | None:
    """Return why no view can be stored in `folder`; None if one can.

    It is tried with a lock and a database like a view's: some file systems have no locks, others no
    shared memory for the database's log.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".probe-", dir=folder) as probe,
            FileLock(Path(probe) / "probe.lock"),
            closing(sqlite3.connect(Path(probe) / "probe.db", isolation_level=None)) as db,
        ):
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")
            db.execute("CREATE TABLE probe (x)")
    except (OSError, sqlite3.Error) as error:
        return error
    return None
