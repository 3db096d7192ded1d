"""Window: how much an instance gets at a time. Pure; it adapts to what the instance can do."""

from blog.bus.delivery.budget import MAX_BATCH

FIRST_WINDOW, MAX_WINDOW = 2, 16
FIRST_ROOM = 16
AIM = 0.1
"""Seconds that an instance should have to do with one load."""


class Window:
    """How many loads one instance gets at a time: grows with success, halves when it is too much.

    `room` is how many events one load may have: as many as it does in about `AIM` seconds, so that
    slow ones come one by one, to be done in parallel, and fast ones do not come one by one.
    """

    def __init__(self) -> None:
        self.size = FIRST_WINDOW
        self.room = FIRST_ROOM
        self.in_flight = 0

    def is_open(self) -> bool:
        """Tell whether another load may go there."""
        return self.in_flight < self.size

    def grow(self, events: int, seconds: float) -> None:
        """Note that so many events took so long."""
        self.size = min(MAX_WINDOW, self.size + 1)
        in_time = int(AIM * events / seconds) if seconds > 0 else MAX_BATCH
        self.room = max(1, min(MAX_BATCH, 2 * self.room, in_time))

    def halve(self) -> None:
        """Note that it was too much (429, 503, timeout)."""
        self.size = max(1, self.size // 2)
        self.room = max(1, self.room // 2)
