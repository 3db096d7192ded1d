"""Window: how much an instance gets at a time. Pure; it adapts to what the instance can do."""

from blog.bus.delivery.budget import MAX_EVENTS

FIRST_WINDOW, MAX_WINDOW = 2, 16
FIRST_BATCH_SIZE = 16
TARGET_SECONDS = 0.1
"""Seconds that an instance should need for one batch."""


class Window:
    """How many batches one instance gets at a time: grows with success, halves on overload.

    `batch_size` is how many events a batch may have: as many as the instance handles in about
    TARGET_SECONDS. Slow ones come one by one, to be handled in parallel; fast ones share a request.
    """

    def __init__(self) -> None:
        self.size = FIRST_WINDOW
        self.batch_size = FIRST_BATCH_SIZE
        self.in_flight = 0

    def is_open(self) -> bool:
        """Return whether the instance may get another batch."""
        return self.in_flight < self.size

    def grow(self, events: int, seconds: float) -> None:
        """Record a batch of so many events that was handled in so many seconds."""
        self.size = min(MAX_WINDOW, self.size + 1)
        in_time = int(TARGET_SECONDS * events / seconds) if seconds > 0 else MAX_EVENTS
        self.batch_size = max(1, min(MAX_EVENTS, 2 * self.batch_size, in_time))

    def halve(self) -> None:
        """Record an overload (429, 503, timeout)."""
        self.size = max(1, self.size // 2)
        self.batch_size = max(1, self.batch_size // 2)

    def __repr__(self) -> str:
        """Show the sizes."""
        return (
            f"<Window: {self.in_flight} of {self.size} batches in flight, {self.batch_size} events each>"
        )
