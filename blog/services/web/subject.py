"""What an author changes, and where: in the API, on the pages. Pure."""

from typing import NamedTuple

from blog.core.contract import Peer, Peers


class Subject(NamedTuple):
    """What is changed: a post, or one of its comments, seen on the page behind `behind`."""

    post_id: str
    comment_id: str | None = None
    behind: str | None = None

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/posts/{self.post_id}" + (f"/comments/{self.comment_id}" if self.comment_id else "")

    @property
    def action(self) -> str:
        """Where its pages are; `/edit` or `/delete` follows."""
        return self.path.replace("/posts/", "/read/", 1)

    def page(self, after: int | None = None) -> str:
        """Where it is shown, as of the sequence `after`."""
        shown = {"behind": self.behind, "after": after}
        query = "&".join(f"{name}={value}" for name, value in shown.items() if value is not None)
        part = f"#{self.comment_id}" if self.comment_id else ""
        return f"/read/{self.post_id}" + (f"?{query}" if query else "") + part

    def owner(self, peers: Peers) -> Peer:
        """Who takes changes of it."""
        return peers.comments if self.comment_id else peers.posts
