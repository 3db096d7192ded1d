"""`blog log`: the log's file in the data directory, without the bus."""

from pathlib import Path

from blog.bus.log import maintenance
from blog.bus.service import log_path
from blog.core.output import say
from blog.core.settings import Settings, load
from blog.gateway.known_log import LOG_ID, write_log_id


def verify(file: Path | None) -> int:
    """Print the problems of a log; return 0 if there are none, else 1."""
    path = file or _path()
    return _show(path, maintenance.verify(path))


def back_up(file: Path) -> int:
    """Copy the log; return 0 if the copy is sound, else 1."""
    return _show(file, maintenance.backup(_path(), file))


def restore(file: Path) -> None:
    """Put a copy back in place."""
    path = _path()
    report = maintenance.restore(file, path)
    # registries in the same data directory are updated here; others need `--adopt`
    for known in path.parent.parent.glob(f"*/{LOG_ID}"):
        write_log_id(known, report.identity)
    say(f"{path}: {report.events} events, now as log {report.identity}.")
    say("A registry elsewhere, or one that runs, knows the log before: `blog bus --adopt` once.")


def _show(path: Path, report: maintenance.VerificationReport) -> int:
    for problem in report.problems:
        say(f"{path}: {problem}", err=True)
    sound = "broken" if report.problems else "sound"
    say(f"{path}: log {report.identity}, {report.events} events up to {report.head}: {sound}")
    return 1 if report.problems else 0


def _path() -> Path:
    return log_path(load(Settings))
