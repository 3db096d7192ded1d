"""Notes: what a writer of its own process noted, and processes that end with the body that runs them."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Told = dict[str, set[int]]
"""The sequences that were told, by the mark of what was written."""

ROOT = Path(__file__).parents[2]


@contextmanager
def running(command: list[str], folder: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that can import the tests; kill -9 it in the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    environ = clean | {"PYTHONPATH": str(ROOT)} | variables
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=said, stderr=said)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class Notes:
    """Lines `sent MARK`, then `done MARK SEQUENCE` or `failed MARK WHY`; the last line may be cut."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._at = 0
        self._rest = b""
        self._open: set[str] = set()
        self._told: Told = {}
        self._failed: Counter[str] = Counter()

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            word, mark, *rest = line.decode().split(" ", 2)
            match word:
                case "sent":
                    self._open.add(mark)
                case "done":
                    self._told.setdefault(mark, set()).add(int(rest[0]))
                    self._open.discard(mark)
                case "failed":
                    self._failed[rest[0]] += 1
                    self._open.discard(mark)

    def told(self) -> Told:
        """Read on; return what was acknowledged."""
        self._read()
        return self._told

    def failed(self) -> Counter[str]:
        """Read on; count the answers that were no acknowledgement, by what they were."""
        self._read()
        return self._failed

    def unanswered(self) -> int:
        """Return how many requests are under way."""
        self._read()
        return len(self._open)
