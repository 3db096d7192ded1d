"""Append request: the content of `POST /events`, parsed for the fast path and the routes alike."""

from collections.abc import Sequence
from typing import NamedTuple

from multidict import MultiMapping
from pydantic import TypeAdapter, ValidationError

from blog.bus.log.expected_version import ExpectedVersion
from blog.core.errors import Invalid, TooLarge
from blog.core.events import BATCH_TYPE, Envelope
from blog.core.web import invalid
from blog.eventlog.wire import MAX_EVENT, decode_expected_version

_one: TypeAdapter[Envelope] = TypeAdapter(Envelope)
_many: TypeAdapter[list[Envelope]] = TypeAdapter(list[Envelope])


class AppendRequest(NamedTuple):
    """What is to be appended, all or none, and what the writer expects of the first event's key."""

    envelopes: Sequence[Envelope]
    expected: ExpectedVersion | None


def read_append(content_type: str, query: MultiMapping[str], body: bytes) -> AppendRequest:
    """Read a request. Raises Malformed, Invalid or TooLarge."""
    envelopes = _parse(body, is_batch=content_type == BATCH_TYPE)
    expected = decode_expected_version(query) if query else None
    if expected is None:
        return AppendRequest(envelopes, None)
    sequence, types = expected
    return AppendRequest(envelopes, ExpectedVersion(envelopes[0].subject, sequence, types))


def _parse(body: bytes, *, is_batch: bool) -> list[Envelope]:
    try:
        envelopes = _many.validate_json(body) if is_batch else [_one.validate_json(body)]
    except ValidationError as error:
        raise invalid(error) from None
    if not envelopes:
        raise Invalid("A batch has at least one event.")
    # only a batch that is large as a whole can have an event that is too large
    if len(body) > MAX_EVENT and any(len(item.to_json().encode()) > MAX_EVENT for item in envelopes):
        raise TooLarge(f"An event may have {MAX_EVENT} bytes.")
    return envelopes
