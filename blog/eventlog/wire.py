"""Wire: the log's HTTP API as both of its sides know it: what the bus writes, its client reads. Pure.

A bus of another version may add fields everywhere, and lines to a stream that are no events; see
docs/upgrading.md. An event that cannot be read is never passed over.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pydantic_core
from multidict import MultiMapping

from blog.core import tolerant
from blog.core.errors import Invalid
from blog.core.events import BATCH_TYPE, EVENT_TYPE, Recorded
from blog.core.instance import MAX_COUNT
from blog.core.web import whole_number

SERVICE = "bus"
"""The service that has the log."""
LOG_HEADER = "Blog-Log"
"""On every response of the bus: the identity of its log."""
THROUGH_HEADER = "Blog-Through"
"""On a page of events: the sequence up to which everything has been considered."""
MAX_EVENT = 256 * 1024
"""Bytes of one event; more is 413."""
MAX_BODY = 16 * 1024 * 1024
"""Bytes of one request; more is 413."""
APPEND_TYPES = (BATCH_TYPE, EVENT_TYPE, "application/json")
"""The content types of an append: the first one has a JSON array of events, the others have one event."""

_EXPECTED_SEQUENCE, _EXPECTED_TYPE = "expectedsequence", "expectedtype"
_THROUGH = b'\n{"through":'  # no event begins so, and no string in one has a line break
_EVENT_ONLY = frozenset({"specversion", "id", "sequence"})
"""What only events have (CloudEvents 1.0 §3.1): another line of a stream has none of these."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the log has an event. `duplicate`: it had it before this append."""

    id: str
    sequence: int
    duplicate: bool = False


class Head(NamedTuple):
    """The identity of a log and its last sequence, 0 when it is empty."""

    log: str
    sequence: int


# -- appending ---------------------------------------------------------------------------------------


def encode_expected_version(sequence: int, types: Collection[str]) -> list[tuple[str, str]]:
    """Return the query of an append: no event of its key after `sequence`, or none of `types`."""
    return [(_EXPECTED_SEQUENCE, str(sequence)), *((_EXPECTED_TYPE, name) for name in sorted(types))]


def decode_expected_version(query: MultiMapping[str]) -> tuple[int, frozenset[str]] | None:
    """Return the sequence and the types that an append expects, None without any. Raises Invalid."""
    text = query.get(_EXPECTED_SEQUENCE)
    types = frozenset(query.getall(_EXPECTED_TYPE, ()))
    if text is not None:
        return whole_number(_EXPECTED_SEQUENCE, text), types
    if types:
        raise Invalid(f"{_EXPECTED_TYPE} needs {_EXPECTED_SEQUENCE} as well")
    return None


def encode_appended(appended: Iterable[Appended]) -> bytes:
    """Return the body of the response to an append: a result for each event, in order."""
    results = [
        {"id": item.id, "sequence": item.sequence, "duplicate": item.duplicate} for item in appended
    ]
    return json.dumps({"results": results}).encode()


def decode_appended(body: bytes) -> list[Appended]:
    """Read what `encode_appended` wrote. Raises ValueError."""
    results = _object(tolerant.parse(body)).get("results")
    if not isinstance(results, list):
        raise ValueError("it has no list of results")  # noqa: TRY004 - a value of JSON
    return [
        Appended(_text(row, "id"), _number(row, "sequence"), row.get("duplicate", False) is True)
        for row in map(_object, results)
    ]


def encode_head(head: Head) -> str:
    """Return the body of the response that says which log it is, and how long."""
    return json.dumps(head._asdict())


def decode_head(body: bytes) -> Head:
    """Read what `encode_head` wrote. Raises ValueError."""
    found = _object(tolerant.parse(body))
    return Head(_text(found, "log"), _number(found, "sequence"))


# -- following ---------------------------------------------------------------------------------------


def decode_events(lines: bytes) -> list[Recorded]:
    """Read the events of a page. Raises ValueError for one that is not valid.

    Lines that are no events, which a later version may send, are passed over.
    """
    # each by itself: within an array one that the bus took might be nested too deeply
    rows = (_object(pydantic_core.from_json(line)) for line in lines.strip().splitlines())
    return [_recorded(row) for row in rows if not _EVENT_ONLY.isdisjoint(row)]


def _recorded(row: Mapping[str, Any]) -> Recorded:
    found = Recorded._make(map(row.get, Recorded._fields))
    has_version = found.dataversion is None or type(found.dataversion) is int
    if (
        has_version
        and type(found.sequence) is int
        and 0 < found.sequence <= MAX_COUNT
        and type(found.id) is str
        and type(found.type) is str
        and type(found.data) is dict
    ):
        return found
    raise ValueError(f"event {found.id!r:.140}, sequence {found.sequence!r:.20}: a field cannot be read")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - a value of JSON
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ValueError(f"its {name} is not a string")  # noqa: TRY004 - a value of JSON
    return value


def _number(row: Mapping[str, Any], name: str) -> int:
    """Return a sequence: SQLite and every reader of JSON can hold it."""
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"its {name} is not a whole number")
    return value


def encode_page(envelopes: Iterable[str], through: int) -> bytes:
    """Return a page of a stream (NDJSON): a line for each event, then how far the page goes."""
    return "\n".join([*envelopes, f'{{"through": {through}}}\n']).encode()


class StreamDecoder:
    """Takes a stream of pages apart, however its bytes arrive.

    A page that is cut off before its last line was never sent: its events come again.
    """

    __slots__ = ("_held", "_most", "_searched")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray(b"\n")
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield each page that `data` completes: the lines of its events, and how far it goes.

        Raises ValueError for a page of more than `most` bytes, and for one that does not say how far.
        """
        held = self._held
        held += data
        if len(held) > self._most:
            raise ValueError(f"more than {self._most} bytes without a line that says how far it is")
        begin = -1
        while (begin := held.find(_THROUGH, self._searched)) >= 0:
            end = held.find(b"\n", begin + 1)
            if end < 0:
                break
            yield bytes(held[:begin]), _decode_through(held[begin + 1 : end])
            # the line break stays: it is where the next line begins
            del held[:end]
            self._searched = 0
        self._searched = max(0, len(held) - len(_THROUGH)) if begin < 0 else begin

    def __repr__(self) -> str:
        """Show how much is held."""
        return f"<StreamDecoder: {len(self._held)} bytes held>"


def _decode_through(line: bytes | bytearray) -> int:
    """Read how far a page goes: `{"through": 12}`, and what a later version adds to that."""
    try:
        return _number(_object(tolerant.parse(bytes(line))), "through")
    except ValueError:
        raise ValueError(f"it is through with {bytes(line[:80])!r}") from None
