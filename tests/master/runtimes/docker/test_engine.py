"""The engine: it is there or it is not, and says in one line what is wrong."""

from pathlib import Path

import pytest
from docker.errors import APIError

from blog.core.errors import SettingsError
from blog.master.runtimes.docker.engine import DockerEngine, why


async def test_without_an_engine_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It names the variable that says where to look."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    message = ""
    try:
        async with DockerEngine.open():
            pass
    except SettingsError as error:
        message = error.detail
    assert "DOCKER_HOST" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (APIError("500", explanation="port is\n already allocated"), "port is already allocated"),
        (APIError("500 Server Error"), "500 Server Error"),
        (TimeoutError(), "TimeoutError"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
    ],
)
def test_an_error_of_the_engine_is_one_line(error: Exception, message: str) -> None:
    """Its own words, where it had any."""
    assert why(error) == message
