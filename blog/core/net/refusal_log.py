"""Refusal log: who was refused what. Each refusal once a minute, and of one address only so many.

Who is refused chooses how often it asks, and may choose a part of the reason: neither fills the log.
"""

from collections.abc import Callable
from typing import NamedTuple

from blog.core.logs import get_logger

PERIOD = 60.0
"""Seconds in which the same refusal is logged once."""
LINES_OF_PEER = 20
"""Lines about one address in that time."""
PEERS = 1000
"""Addresses that are remembered for it."""

log = get_logger()


class _Window(NamedTuple):
    began: float
    said: set[tuple[str, str]]


class RefusalLog:
    """Logs refusals; `now` is in monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._windows: dict[str, _Window] = {}

    def log(self, peer: str, route: str, reason: str, **fields: str) -> None:
        """Log that the address `peer` was refused at `route`, unless that was said a moment ago."""
        said = self._window(peer).said
        if (route, reason) in said or len(said) >= LINES_OF_PEER:
            return
        said.add((route, reason))
        log.warning("request.refused", peer=peer, route=route, reason=reason, **fields)

    def _window(self, peer: str) -> _Window:
        now = self._now()
        window = self._windows.get(peer)
        if window is None or now - window.began >= PERIOD:
            if len(self._windows) >= PEERS:
                self._windows.clear()
            window = self._windows[peer] = _Window(now, set())
        return window

    def __repr__(self) -> str:
        """Show how many addresses were refused lately."""
        return f"<RefusalLog of {len(self._windows)} addresses>"
