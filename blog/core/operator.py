"""Operator commands: what the person who runs the blog may do to things by id, whoever their author is.

Plain data: how a service declares one, and what goes over the wire to an instance and back. No public
route ever leads to `PATH`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, Field, JsonValue

from blog.core.deprecated import renamed_names
from blog.core.text import Line

PATH = "/v1/operator"
"""At every instance of a service: `GET` lists the commands, `POST PATH/NAME` runs one."""

OPERATOR = "operator"
"""In an event's `by`: an operator decided this."""

Reason = Annotated[Line, Field(max_length=500)] | None
"""Why, in one line of text by the operator; None if no reason was given."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """A handler for operators only; its parameter `subject` takes the id of what it is about."""

    name: str
    handler: Callable[..., Any]
    subject: str

    @classmethod
    def of(cls, name: str, handler: Callable[..., Any]) -> Self:
        """Take the subject from the handler's first parameter. Raises TypeError where there is none."""
        subject = next(iter(inspect.signature(handler).parameters), None)
        if not _NAME.fullmatch(name):
            raise TypeError(f"operator command {name!r}: use small letters, digits and hyphens")
        if subject is None:
            raise TypeError(f"operator command {name}: its first parameter must take an id")
        return cls(name, handler, subject)

    @property
    def summary(self) -> str:
        """What it does, for people: the first line of the handler's docstring."""
        return (self.handler.__doc__ or self.name).strip().splitlines()[0]


class OperatorRequest(BaseModel):
    """What an operator sends. `seen` is the `OperatorReport.seen` of the preview that was confirmed."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    reason: Reason = None
    seen: str | None = None
    dry_run: bool = False


class OperatorReport(BaseModel):
    """The outcome of an operator command; of a dry run, what it would be.

    `changed` is false if there was nothing to change. `before` is the state before, as the service shows
    it to its author, and `seen` identifies exactly that and the types of the events.
    """

    changed: bool
    sequence: int | None = None
    events: tuple[str, ...] = ()
    before: JsonValue = None
    seen: str | None = None


def is_absent(value: object) -> bool:
    """Return whether an optional field of an event is absent, and need not be in the log."""
    return value is None


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, Order="OperatorRequest", Report="OperatorReport")
