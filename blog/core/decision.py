"""Decision: what a command comes to, and what became of it. Plain data."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from blog.core.events import Event


class Append(NamedTuple):
    """Events that a command decided on, and what the decision stands on.

    With `expect` (`view.applied`) the log takes them only if nothing of the first event's key came
    behind that sequence, or, with types in `among`, none of these; else the command decides again.
    `before` is what the events change, where the answer needs it.
    """

    events: Sequence[Event]
    expect: int | None = None
    among: tuple[type[Event], ...] = ()
    before: Any = None


class Unchanged(NamedTuple):
    """A command found everything as it should be: `answer`, and the sequence where it became so."""

    answer: Any = None
    sequence: int | None = None


class Written(NamedTuple):
    """What a command wrote, as the log has it: `sequence` is that of the last event."""

    events: Sequence[Event]
    sequence: int
    before: Any = None


Answer = Callable[[Any, Written], Any]
"""How the answer is made of a command's first event."""
