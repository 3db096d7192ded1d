"""When a registry is tried again, and when somebody hears of it."""

import pytest

from blog.registry.client.reconnecting import is_worth_a_line, reconnect_delay


@pytest.mark.parametrize("failures", [1, 5, 30, 31, 100, 10**6])
def test_reconnecting_stays_below_a_second_however_long_the_registry_was_away(failures: int) -> None:
    """Full jitter: a thousand instances do not come back in the same moment."""
    delays = [reconnect_delay(failures) for _ in range(200)]
    assert 0 <= min(delays) < max(delays) <= 0.6
    assert max(delays) - min(delays) > max(delays) / 2


def test_a_registry_that_is_away_for_hours_fills_no_log() -> None:
    """A line after 20 failures, which is some seconds, then after twice as many each time."""
    assert [n for n in range(1, 1000) if is_worth_a_line(n)] == [20, 40, 80, 160, 320, 640]
