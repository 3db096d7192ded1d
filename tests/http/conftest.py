"""Connections over real sockets, plain and over TLS."""

from functools import partial
from pathlib import Path

import pytest

from tests.certificates import Tls, tls_of
from tests.http.rig import OpenRig, opened_rig
from tests.loops import Factories, loops_of


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Factories:
    """Run every test here in the loop that every process of ours runs in, some in asyncio's too."""
    return loops_of(item)


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, tls_files: tuple[Path, Path]) -> Tls | None:
    """Give what the two sides speak TLS with, None where it is plain."""
    return tls_of(tls_files) if request.param == "TLS" else None


@pytest.fixture
def open_rig(tls: Tls | None) -> OpenRig:
    """Give what opens a port, plain or over TLS."""
    return partial(opened_rig, tls)
