"""What an author changes, and where: in the API, on the pages. Pure."""

from typing import NamedTuple

from blog.core.contract import Peer, Peers


def thread_query(after_comment: str | None) -> dict[str, str]:
    """Return the parameters of a thread's page, the one after `after_comment`.

    By both names: an instance of 0.1, which may be sent the next request, knows only the old one.
    """
    return {"after_comment": after_comment, "behind": after_comment} if after_comment else {}


def thread_page(
    post_id: str, after_comment: str | None = None, after: int | None = None, part: str | None = None
) -> str:
    """Return the path of a page of a thread, as of the sequence `after`, at its `part`."""
    query = [f"{name}={value}" for name, value in thread_query(after_comment).items()]
    if after is not None:
        query.append(f"after={after}")
    return f"/read/{post_id}" + (f"?{'&'.join(query)}" if query else "") + (f"#{part}" if part else "")


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
        return thread_page(self.post_id, self.after_comment, after, self.comment_id)

    @property
    def query(self) -> dict[str, str]:
        """The parameters that lead back to its page, for a form."""
        return thread_query(self.after_comment)

    def service(self, peers: Peers) -> Peer:
        """Return the service that changes it."""
        return peers.comments if self.comment_id else peers.posts
