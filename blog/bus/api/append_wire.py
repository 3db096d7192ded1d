"""Appends: what a request to append says, and what it is answered: the same at every door of the bus."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from multidict import MultiMapping
from pydantic import TypeAdapter, ValidationError

from blog.bus.log.expected_version import ExpectedVersion
from blog.core.errors import Invalid, TooLarge
from blog.core.events import BATCH_TYPE, EVENT_TYPE, Envelope
from blog.core.web import invalid, whole_number
from blog.eventlog.wire import Appended

MAX_EVENT = 256 * 1024
"""Bytes of one event; more is 413."""
MAX_BODY = 16 * 1024 * 1024
"""Bytes of one request; more is 413."""
APPEND_TYPES = (BATCH_TYPE, EVENT_TYPE, "application/json")
"""The content types that are taken."""

_one: TypeAdapter[Envelope] = TypeAdapter(Envelope)
_many: TypeAdapter[list[Envelope]] = TypeAdapter(list[Envelope])


class AppendRequest(NamedTuple):
    """What is to be appended, all or none, and what the writer expects of the first event's key."""

    envelopes: Sequence[Envelope]
    expected: ExpectedVersion | None


def read_append(content_type: str, query: MultiMapping[str], body: bytes) -> AppendRequest:
    """Understand a request. Raises Malformed, Invalid or TooLarge; nothing is taken then."""
    envelopes = _parse(body, is_batch=content_type == BATCH_TYPE)
    return AppendRequest(envelopes, _expected(query, envelopes[0].subject) if query else None)


def told(appended: Sequence[Appended]) -> bytes:
    """Write the answer."""
    results = [
        {"id": item.id, "sequence": item.sequence, "duplicate": item.duplicate} for item in appended
    ]
    return json.dumps({"results": results}).encode()


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


def _expected(query: MultiMapping[str], key: str) -> ExpectedVersion | None:
    """Read what a writer expects of `key`. Raises Invalid."""
    text = query.get("expectedsequence")
    types = frozenset(query.getall("expectedtype", ()))
    if text is not None:
        return ExpectedVersion(key, whole_number("expectedsequence", text), types)
    if types:
        raise Invalid("expectedtype: says nothing without expectedsequence")
    return None
