"""Markdown from people, as HTML that is harmless, and never at more than a bounded cost. Pure.

Twice safe: the parser does not accept HTML (it is output as text), and the output is reduced to an
allow-list of tags. A text that is over its budget (see `budget`) is output as plain text.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

from blog.services.web.budget import Budget, OverBudget

_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "pre", "ol", "ul", "li"),
    *("a", "code", "em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
_REL = "nofollow ugc noopener noreferrer"
_HEADING_SHIFT = 2  # headings of a text stand below those of the page: h1 and h2
_MAX_HEADING = 6
_EXCERPT = 280
_EXCERPT_INPUT = 4 * _EXCERPT

_BUDGET = "budget"  # where the parser's environment has it, and what the rules that ask it are called
_BLOCK, _INLINE, _SKIP, _TOKEN = 5, 2, 1, 2  # units of work: microseconds, about


class _Inline(ParserInline):
    """The parser of inline text; what it looks at again and again is work as well."""

    def skipToken(self, state: StateInline) -> None:  # noqa: N802 - the name is the parser's
        """See ParserInline; it caches where a token ends, but is called for each of them again."""
        state.env[_BUDGET].spend(_SKIP)
        super().skipToken(state)


def _try_block(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:  # noqa: FBT001 - a rule
    """Be the first rule that is tried wherever a block may begin or end: it asks, and never matches."""
    budget: Budget = state.env[_BUDGET]
    budget.check_depth(state.level)
    budget.spend(_BLOCK + _new_tokens(state))
    return False


def _try_inline(state: StateInline, _silent: bool) -> bool:  # noqa: FBT001 - a rule
    """Be the first rule that is tried at each place of a text."""
    state.env[_BUDGET].spend(_INLINE + _new_tokens(state))
    return False


def _new_tokens(state: StateBlock | StateInline) -> int:
    """Return the work of the tokens that were made since the last look: one rule may make many."""
    known: int = state.env.get("tokens", 0)
    state.env["tokens"] = len(state.tokens)
    return _TOKEN * max(0, len(state.tokens) - known)


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False})
    parser.inline = _Inline()
    parser.disable("image")
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", _BUDGET, _try_block, {"alt": everywhere})
    parser.inline.ruler.before("text", _BUDGET, _try_inline)
    return parser


_parser = _make_parser()


def render(text: str, clock: Callable[[], float] = time.thread_time) -> Markup:
    """Render Markdown (CommonMark, tables, strikethrough) as HTML without images and scripts."""
    try:
        return _render(text, Budget(len(text), clock))
    except OverBudget:
        return plain(text)


def plain(text: str) -> Markup:
    """Show a text as it was typed, line by line."""
    # the first line break in a `pre` is not shown (WHATWG HTML §13.1.2.5)
    return Markup('<pre class="plain">\n{}</pre>\n').format(text)


def _render(text: str, budget: Budget) -> Markup:
    environment: dict[str, Any] = {_BUDGET: budget}
    tokens = _parser.parse(text, environment)
    _check_tokens(tokens, budget)
    html = _parser.renderer.render(tokens, _parser.options, environment)
    budget.check_output(len(html))
    clean = nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=_SCHEMES, link_rel=_REL)
    budget.check_output(len(clean))
    return Markup(clean)  # noqa: S704 - cleaned in this very call


def _check_tokens(tokens: Sequence[Token], budget: Budget) -> None:
    """Lower the headings, and see that what comes out is neither too deep nor too much."""
    depth = size = 0
    for token in _flatten(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_MAX_HEADING, int(token.tag[1:]) + _HEADING_SHIFT)}"
        depth += token.nesting
        size += _size(token)
        budget.check_depth(depth)
        budget.check_output(size)


def _flatten(tokens: Sequence[Token]) -> Iterator[Token]:
    """Iterate over the tokens that are shown: those of blocks and of the text in them."""
    for token in tokens:
        if token.type == "inline":
            yield from token.children or ()
        else:
            yield token


def _size(token: Token) -> int:
    """Return how many characters of HTML it becomes at least."""
    return len(token.tag) + len(token.content) + sum(len(str(value)) for value in token.attrs.values())


def excerpt(text: str) -> str:
    """Return how a text begins, as plain text: its first paragraph, at most some 280 characters."""
    # of a long text no more is looked at than can be shown
    beginning = text.lstrip()[: _EXCERPT_INPUT + 1]
    paragraph, gap, _ = beginning.partition("\n\n")
    short = " ".join(paragraph.split())
    if len(short) <= _EXCERPT and (gap or len(beginning) <= _EXCERPT_INPUT):
        return short
    return short[:_EXCERPT].rsplit(" ", 1)[0] + " …"
