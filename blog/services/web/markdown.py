"""Markdown from people, as HTML that is harmless. Pure.

Twice safe: the parser takes no HTML in (it comes out as text), and what comes out is cut down to an
allow-list of tags.
"""

from functools import lru_cache
from itertools import islice

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "pre", "ol", "ul", "li"),
    *("a", "code", "em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
_LOWERED = 2  # headings of a text stand below those of the page: h1 and h2
_DEEPEST = 6
_EXCERPT = 280

_parser = MarkdownIt("js-default", {"html": False}).disable("image")


@lru_cache(maxsize=512)
def render(text: str) -> Markup:
    """Render Markdown (CommonMark, tables, strikethrough) as HTML without images and scripts."""
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_DEEPEST, int(token.tag[1:]) + _LOWERED)}"
    html = _parser.renderer.render(tokens, _parser.options, {})
    return Markup(  # noqa: S704 - cleaned in this very call
        nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            url_schemes=_SCHEMES,
            link_rel="nofollow ugc noopener noreferrer",
        )
    )


def excerpt(text: str) -> str:
    """Return how a text begins, as plain text: its first paragraph, at most some 280 characters."""
    paragraph = next((part for part in text.split("\n\n") if part.strip()), "")
    words = islice(paragraph.split(), _EXCERPT)
    short = " ".join(words)
    return short if len(short) <= _EXCERPT else short[:_EXCERPT].rsplit(" ", 1)[0] + " …"
