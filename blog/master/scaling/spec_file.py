"""Watch of `blog.toml`: a change is applied while the blog runs, a mistake in it changes nothing."""

from collections.abc import Iterable
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.logs import get_logger
from blog.master.scaling.spec import ScalingSpec, read

log = get_logger()
_Stamp = tuple[int, int] | None


class SpecFileWatch:
    """The file at `path`, for the `known` services. Raises SettingsError if it is invalid already."""

    def __init__(self, path: Path, known: Iterable[str]) -> None:
        self.problem = ""
        """What is wrong with it now; until that is corrected the specs before apply."""
        self._path = path
        self._known = tuple(known)
        self._seen = self._loaded = _stamp(path)
        self.specs = read(path, self._known)

    def poll(self) -> dict[str, ScalingSpec] | None:
        """Return the specs if the file has changed, else None.

        It is read once it is the same at two polls, so that a half-written file is not read.
        """
        before, self._seen = self._seen, _stamp(self._path)
        if self._seen == self._loaded or self._seen != before:
            return None
        self._loaded = self._seen
        try:
            self.specs, self.problem = read(self._path, self._known), ""
        except SettingsError as error:
            self.problem = error.detail
            log.warning("spec.invalid", reason=error.detail, next="the specs before still apply")
            return None
        log.info("spec.changed", file=str(self._path))
        return self.specs

    def __repr__(self) -> str:
        """Show the path, and what is wrong."""
        return f"<SpecFileWatch {self._path}: {self.problem or 'valid'}>"


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
