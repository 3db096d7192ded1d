"""What holds for every test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests.certificates import write_certificate

# how long an example of a property takes says nothing of it
settings.register_profile("blog", deadline=None)
settings.load_profile("blog")

# tests write as fast as they can; those of the limit set one
os.environ.setdefault("BLOG_WRITE_RATE", "0")


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> Iterator[None]:
    """Take back how a test set logging up: its output is captured in a file that is closed after it."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a certificate for localhost, 127.0.0.1 and ::1, and its key."""
    return write_certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Give the Docker engine, with the image built from this tree, once for all tests."""
    from tests.e2e.engine import engine  # noqa: PLC0415 - most tests need no engine

    with engine() as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End a test that hangs in uvloop from another thread: a signal does not wake that loop's Python."""
    for item in items:
        if item.path.parent.name in {"http", "gateway"}:
            item.add_marker(pytest.mark.timeout(method="thread"))
