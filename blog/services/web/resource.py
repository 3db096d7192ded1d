"""What an author changes, and where: in the API, on the pages. Pure."""

from typing import NamedTuple

from blog.core.contract import Peer, Peers


class Resource(NamedTuple):
    """What is changed: a post, or one of its comments, which is on the page after `after_comment`."""

    post_id: str
    comment_id: str | None = None
    after_comment: str | None = None

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/posts/{self.post_id}" + (f"/comments/{self.comment_id}" if self.comment_id else "")

    @property
    def action(self) -> str:
        """Its path among the pages; `/edit` or `/delete` follows."""
        return self.path.replace("/posts/", "/read/", 1)

    def page(self, after: int | None = None) -> str:
        """Return the path where it is shown, as of the sequence `after`."""
        params = {"after_comment": self.after_comment, "after": after}
        query = "&".join(f"{name}={value}" for name, value in params.items() if value is not None)
        part = f"#{self.comment_id}" if self.comment_id else ""
        return f"/read/{self.post_id}" + (f"?{query}" if query else "") + part

    def service(self, peers: Peers) -> Peer:
        """Return the service that changes it."""
        return peers.comments if self.comment_id else peers.posts
