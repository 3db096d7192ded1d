"""One line per request, gathered."""

import json

import pytest

from blog.gateway.telemetry.access_log import AccessLog


def add(log: AccessLog, path: str = "/posts") -> None:
    """Add a line."""
    log.add(b"GET", path, 200, 0.00123, b'"query-1"', b"r1", b"00-t-s-01", b"10.0.0.1")


def test_lines_are_gathered_and_written_together() -> None:
    """As JSON, whatever the path."""
    written: list[bytes] = []
    log = AccessLog("all", is_json=True, write=written.append)
    add(log)
    add(log, '/a"\\\n')
    assert not written
    log.flush()
    log.flush()
    [text] = written
    first, second = (json.loads(line) for line in text.splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "request.served", "method": "GET", "path": "/posts", "status": 200, "ms": 1.23,
        "instance": "query-1", "request_id": "r1", "trace": "00-t-s-01", "client": "10.0.0.1",
        "service": "gateway", "level": "info",
    }  # fmt: skip
    assert second["path"] == '/a"\\\n'


def test_many_lines_do_not_wait() -> None:
    """Memory is bounded."""
    written: list[bytes] = []
    log = AccessLog("all", is_json=True, write=written.append)
    for _ in range(512):
        add(log)
    assert len(written) == 1


@pytest.mark.parametrize(("level", "least"), [("all", 0), ("errors", 500)])
def test_the_log_may_be_of_errors_only(level: str, least: int) -> None:
    """Server errors, that is."""
    assert AccessLog(level, is_json=True).least == least  # type: ignore[arg-type]


def test_on_a_terminal_it_is_a_line_like_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Written at once, by the log that everybody uses."""
    add(AccessLog("all", is_json=False))
    assert "request.served" in capsys.readouterr().out
