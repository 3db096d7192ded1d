"""The feed: posts as Atom (RFC 4287). Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from blog.core.contract import Document
from blog.services.query.models import Post

NAMESPACE = "http://www.w3.org/2005/Atom"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# what XML 1.0 §2.2 does not take, escaped or not
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Feed(Document, content_type="application/atom+xml"):
    """An Atom feed."""


def feed_of(posts: Sequence[Post], base_url: str) -> Feed:
    """Make the feed of `posts`, newest first, of the blog at `base_url`."""
    base_url = _legal(base_url)
    feed = ET.Element("feed", xmlns=NAMESPACE)
    address = f"{base_url}/feed.atom"
    _text(feed, "id", address)
    _text(feed, "title", "blog")
    # nothing of this depends on now: the same posts are the same bytes
    _text(feed, "updated", max(map(_updated, posts), default=_EPOCH).isoformat())
    ET.SubElement(feed, "link", rel="self", type=Feed.content_type, href=address)
    ET.SubElement(feed, "link", rel="alternate", type="text/html", href=f"{base_url}/")
    for post in posts:
        _add_entry(feed, post, base_url)
    return Feed(ET.tostring(feed, encoding="utf-8", xml_declaration=True))


def _add_entry(feed: ET.Element, post: Post, base_url: str) -> None:
    entry = ET.SubElement(feed, "entry")
    _text(entry, "id", f"urn:uuid:{post.id}")
    _text(entry, "title", post.title)
    _text(entry, "published", post.created_at.isoformat())
    _text(entry, "updated", _updated(post).isoformat())
    _text(ET.SubElement(entry, "author"), "name", post.author or "Somebody")
    ET.SubElement(entry, "link", rel="alternate", type="text/html", href=f"{base_url}/read/{post.id}")
    _text(entry, "content", post.body)


def _updated(post: Post) -> datetime:
    return post.edited_at or post.created_at


def _text(parent: ET.Element, name: str, text: str) -> None:
    """Add an element with plain text: in Atom's text constructs, that is what no `type` means."""
    ET.SubElement(parent, name).text = _legal(text)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
