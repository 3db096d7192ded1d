"""`blog.toml` while the blog runs: a change is taken up by itself, a mistake in it changes nothing."""

from collections.abc import Iterable
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.logs import get_logger
from blog.master.scaling.spec import read
from blog.master.scaling.wanted import ScalingPolicy

log = get_logger()
_Stamp = tuple[int, int] | None


class SpecFileWatch:
    """The file at `path`, for the `known` services. Raises SettingsError when it is wrong at first."""

    def __init__(self, path: Path, known: Iterable[str]) -> None:
        self.problem = ""
        """What is wrong with it now; what it said before holds until that is put right."""
        self._path = path
        self._known = tuple(known)
        self._seen = self._taken = _stamp(path)
        self.policies = read(path, self._known)

    def news(self) -> dict[str, ScalingPolicy] | None:
        """Look at it; return what it says if that is new.

        It is read once it is the same at two looks: nobody wants half of what an editor is writing.
        """
        before, self._seen = self._seen, _stamp(self._path)
        if self._seen == self._taken or self._seen != before:
            return None
        self._taken = self._seen
        try:
            self.policies, self.problem = read(self._path, self._known), ""
        except SettingsError as error:
            self.problem = error.detail
            log.warning("policies.wrong", why=error.detail, next="what was said before holds")
            return None
        log.info("policies.changed", file=str(self._path))
        return self.policies

    def __repr__(self) -> str:
        """Show which, and what is wrong with it."""
        return f"<SpecFileWatch {self._path}: {self.problem or 'fine'}>"


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
