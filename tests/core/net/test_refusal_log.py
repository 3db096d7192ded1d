"""What is refused is logged, and nobody who is refused fills the log or the memory."""

from structlog.testing import capture_logs

from blog.core.net.refusal_log import LINES_OF_PEER, PEERS, RefusalLog


def test_one_address_has_so_many_lines_a_minute_whatever_it_makes_up() -> None:
    """Others are seen all the same, and so is it after a minute."""
    now = 0.0
    refusals = RefusalLog(lambda: now)
    with capture_logs() as lines:
        for number in range(1000):
            refusals.log("10.0.0.1", "/v1/session", f"row {number} is wrong")
        refusals.log("10.0.0.2", "/v1/session", "row 1 is wrong", id="p1")
        assert len(lines) == LINES_OF_PEER + 1
        assert lines[-1]["id"] == "p1"
        now = 61.0
        refusals.log("10.0.0.1", "/v1/session", "row 1 is wrong")
    assert len(lines) == LINES_OF_PEER + 2


def test_a_refusal_at_another_port_or_for_another_reason_is_another() -> None:
    """Each is said once."""
    refusals = RefusalLog(lambda: 0.0)
    with capture_logs() as lines:
        for _ in range(3):
            for route, reason in (("/a", "x"), ("/a", "y"), ("/b", "x")):
                refusals.log("10.0.0.1", route, reason)
    assert [(line["route"], line["reason"]) for line in lines] == [("/a", "x"), ("/a", "y"), ("/b", "x")]


def test_a_million_addresses_are_not_a_million_rows() -> None:
    """All are forgotten before memory is full."""
    refusals = RefusalLog(lambda: 0.0)
    with capture_logs():
        for number in range(3 * PEERS):
            refusals.log(str(number), "", "x")
    assert len(refusals._windows) <= PEERS
