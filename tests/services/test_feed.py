"""The feed: what RFC 4287 wants, whatever people wrote."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

from hypothesis import given as for_all
from hypothesis import strategies as st

from blog.core.contract import Meta
from blog.core.ids import derived_id
from blog.runtime.openapi import describe
from blog.services.query.feed import NAMESPACE
from blog.services.query.service import FEED_LENGTH, feed, service
from blog.services.query.view import QueryView
from blog.testing.given import given
from tests.services.happenings import (
    LATER,
    NOW,
    meta,
    rewritten,
    written,
)


def parts(document: bytes) -> tuple[ET.Element, Callable[[ET.Element, str], str]]:
    """Parse a feed; return it, and how to get the text of an element."""
    root = ET.fromstring(document)  # noqa: S314 - it is ours
    return root, lambda element, name: element.findtext(f"{{{NAMESPACE}}}{name}") or ""


def test_the_feed_has_the_newest_posts() -> None:
    """With what RFC 4287 §4.1 wants of a feed and of each entry."""
    many = [written(derived_id("p", n), f"Post {n}", "a & <b>") for n in range(FEED_LENGTH + 2)]
    newest = many[-1].id
    view = given(QueryView, *many, rewritten("Edited", "x", newest))
    root, text = parts(feed(view, meta()).content)
    assert root.tag == f"{{{NAMESPACE}}}feed"
    assert text(root, "id") == "https://blog.example/feed.atom"
    assert (text(root, "title"), text(root, "updated")) == ("blog", LATER.isoformat())
    links = {link.get("rel"): link.get("href") for link in root.iter(f"{{{NAMESPACE}}}link")}
    assert links["self"] == "https://blog.example/feed.atom"
    entries = root.findall(f"{{{NAMESPACE}}}entry")
    assert [text(entry, "title") for entry in entries][:2] == ["Edited", f"Post {FEED_LENGTH}"]
    assert len(entries) == FEED_LENGTH
    first, second = entries[:2]
    assert text(first, "id") == f"urn:uuid:{newest}"
    assert (text(first, "published"), text(first, "updated")) == (NOW.isoformat(), LATER.isoformat())
    assert text(second, "updated") == NOW.isoformat()
    assert first.findtext(f"{{{NAMESPACE}}}author/{{{NAMESPACE}}}name") == "Ann"
    link = first.find(f"{{{NAMESPACE}}}link")
    assert link is not None
    assert (link.get("rel"), link.get("href")) == ("alternate", f"https://blog.example/read/{newest}")
    assert text(second, "content") == "a & <b>"


def test_an_empty_feed_is_a_feed() -> None:
    """It has to have been updated some time, and always the same."""
    root, text = parts(feed(given(QueryView), meta()).content)
    assert text(root, "updated") == "1970-01-01T00:00:00+00:00"
    assert feed(given(QueryView), meta()) == feed(given(QueryView), meta())


@for_all(st.text(), st.text(), st.text(), st.text())
def test_nothing_that_people_write_breaks_the_feed(title: str, body: str, author: str, base: str) -> None:
    """Neither markup nor what XML cannot hold (XML 1.0 §2.2)."""
    odd = "\x00\x1b\ufffe\uffff]]>" + body
    view = given(QueryView, written(title=title, body=odd, author=author))
    asked = Meta(request_id="r", now=NOW, base_url=base)
    root, text = parts(feed(view, asked).content)
    (entry,) = root.findall(f"{{{NAMESPACE}}}entry")
    assert len(list(entry)) == 7
    assert text(entry, "content").startswith("\ufffd\ufffd\ufffd\ufffd]]>")


def test_the_feed_is_described() -> None:
    """As what it is."""
    response = describe(service)["paths"]["/feed.atom"]["get"]["responses"]["200"]
    assert list(response["content"]) == ["application/atom+xml"]
