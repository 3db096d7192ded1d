"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

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
