"""Decision: what a command decides, and what became of it. Plain data."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from blog.core.deprecated import renamed_fields, renamed_names
from blog.core.events import Event


@renamed_fields(among="types")
class Append(NamedTuple):
    """Events that a command decided on, and what the decision is based on.

    With `expect` (`view.applied`) the log takes them only if it has no later event of the first event's
    key; with `types`, only if it has none of these types. Otherwise the command decides again.
    `before` is what the events change, where the response needs it.
    """

    events: Sequence[Event]
    expect: int | None = None
    types: tuple[type[Event], ...] = ()
    before: Any = None


@renamed_fields(answer="content")
class Unchanged(NamedTuple):
    """There was nothing to change: `content` of the response, and the sequence that made it so."""

    content: Any = None
    sequence: int | None = None


class Written(NamedTuple):
    """What a command wrote, as the log has it: `sequence` is that of the last event."""

    events: Sequence[Event]
    sequence: int
    before: Any = None


ResponseBuilder = Callable[[Any, Written], Any]
"""Makes the content of the response from a command's first event."""

if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, Answer="ResponseBuilder")
