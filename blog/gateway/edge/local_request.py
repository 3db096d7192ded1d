"""Waiting: a request whose answer comes from nobody else, and takes nothing of its body."""

from blog.core.errors import BlogError


class LocalRequest:
    """A request whose answer is being made without its connection. `is_gone`: nobody waits for it."""

    def __init__(self) -> None:
        self.is_gone = False

    def body_data(self, data: bytes) -> None:
        """Pass over it."""

    def body_ended(self) -> None:
        """Pass over it."""

    def body_failed(self, error: BlogError) -> None:
        """Pass over it."""

    def client_paused(self) -> None:
        """Do nothing: there is little to write."""

    def client_resumed(self) -> None:
        """Do nothing."""

    def client_gone(self) -> None:
        """Remember it."""
        self.is_gone = True


NOTHING = LocalRequest()
"""Stands for a request that was answered at once."""
