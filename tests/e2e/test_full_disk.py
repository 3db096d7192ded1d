"""A disk that is full for a while: the log refuses clearly, is read all the same, and goes on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from blog.bus.log.maintenance import verify
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.notes import running
from tests.e2e.test_crash import BUS, TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
SIZE = 32 << 20


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """Mount a small file system of its own at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a small file system."""
    with mounted(tmp_path / "disk", SIZE) as folder:
        yield folder


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Leave at most so many bytes free while the body runs; others may be writing."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        while (free := bytes_free(disk)) > left:
            with suppress(OSError):  # somebody was quicker: look again
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free - left)
    try:
        yield
    finally:
        filler.unlink()


def bytes_free(disk: Path) -> int:
    """Return how much may still be written."""
    usage = os.statvfs(disk)
    return usage.f_bavail * usage.f_frsize


def append(url: str, name: str, size: int = 10) -> requests.Response:
    """Append an event of about so many bytes."""
    event = {
        "specversion": "1.0", "id": name, "source": "/t", "type": "t", "subject": "k",
        "time": "2026-01-01T00:00:00Z", "data": {"text": "x" * size},
    }  # fmt: skip
    return requests.post(f"{url}/events", json=event, headers=HEADERS, timeout=10)


def test_a_full_disk_loses_nothing(disk: Path, tmp_path: Path) -> None:
    """507 and when to come again; nothing that was refused is there, everything else is."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "BLOG_PORT": str(port), "BLOG_DATA_DIR": str(disk / "data"), "BLOG_TOKEN": TOKEN,
        "BLOG_REGISTRY": "http://127.0.0.1:1",
    }  # fmt: skip

    def answers() -> bool:
        try:
            return append(url, "first").status_code == 200
        except requests.ConnectionError:
            return False

    with running(BUS, tmp_path, **variables):
        wait_until(answers, 20)
        with filled(disk, left=64 << 10):
            # the first ones meet the disk itself, later ones the look at what is free
            statuses = [append(url, f"refused-{n}", 200_000).status_code for n in range(5)]
            assert statuses == [507] * 5
            wait_until(lambda: append(url, "refused").status_code == 507)
            answer = append(url, "refused")
            assert (answer.status_code, answer.headers["Retry-After"]) == (507, "10")
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            listed = requests.get(f"{url}/events?limit=1000", headers=HEADERS, timeout=10).json()
            assert (
                len(listed)
                == requests.get(f"{url}/events/head", headers=HEADERS, timeout=10).json()["sequence"]
            )
        wait_until(lambda: append(url, "refused").status_code == 200)
        assert append(url, "after").json()["results"][0]["duplicate"] is False
    report = verify(disk / "data" / "bus" / "log.db")
    assert report.problems == ()
    assert report.head >= 3
