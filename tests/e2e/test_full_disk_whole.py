"""A whole blog whose disk is full for a while: it says so, is read meanwhile, and goes on by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.soundness import problems
from tests.e2e.test_full_disk import filled, mounted
from tests.e2e.test_whole import ROUNDS, SCALE, reading
from tests.e2e.trouble import REPLICAS, wait_until_settled, writing

SIZE = 192 << 20
REFUSED = 64
READS = 100


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Give a small file system where the blog has its data."""
    with mounted(tmp_path / "data", SIZE) as folder:
        yield folder


@pytest.mark.timeout(900)
def test_a_blog_on_a_full_disk(data: Path, up: Callable[..., Blog], tmp_path: Path) -> None:
    """Writers hear 507, or 503, and when to come again; nothing told is lost; readers see no error."""
    blog = up(*SCALE, BLOG_LOG_LEVEL="warning")
    blog.wait_until_ready(**REPLICAS, gateway=1)
    with writing(blog, tmp_path) as notes, reading(blog).flowing(2) as reads:
        for _ in range(max(1, ROUNDS // 4)):
            refused = sum(notes.failed().values())
            with filled(data, left=64 << 10):
                wait_until(lambda: sum(notes.failed().values()) > refused + REFUSED, 60)
                seen = len(reads.answers)
                wait_until(lambda: reads.more_than(seen + READS), 60)
            told = len(notes.told())
            wait_until(lambda: len(notes.told()) > told + REFUSED, 60)
    print(f"{len(notes.told())} acknowledged; not: {notes.failed()}; reads: {reads.statuses()}")
    wait_until_settled(blog, data)
    assert blog.stop() == 0
    assert problems(data, notes.told()) == []
    assert reads.errors == []
    assert reads.statuses().keys() == {200}
    assert {why.split()[0] for why in notes.failed()} <= {"507", "503"}
    assert not [why for why in notes.failed() if why.endswith("-")]
