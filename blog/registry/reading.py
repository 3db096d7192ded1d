"""Reading: what the other end of a session sends, as far as this version understands it.

Messages of unknown types and rows that cannot be read are passed over, unknown fields are ignored; each
kind is logged once per session. A session ends only when an instance sends what is not a JSON object, or
joins with a row that cannot be read.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import pydantic_core
from pydantic import BaseModel, ValidationError

from blog.core import tolerant
from blog.core.instance import Departure, Instance
from blog.core.logs import get_logger
from blog.core.printable import printable
from blog.registry.messages import (
    FromInstance,
    FromRegistry,
    GoneInstance,
    Join,
    Joined,
    parse_from_instance,
    parse_from_registry,
)

M = TypeVar("M")

_MAX_WORD, _MAX_REASON = 64, 200  # characters of what others wrote, in a log line
_ROWS = {"snapshot": "instances", "delta": "put"}
"""The field of a message that holds rows of the table."""

log = get_logger()


class ProtocolError(Exception):
    """What the other end sent ends the session; the message says which field, and why."""


class PassedOver(NamedTuple):
    """A message, a row or a field that could not be read; `event` is how the log calls it."""

    event: Literal["message.skipped", "row.unreadable", "field.unreadable"]
    type: str
    field: str
    reason: str
    id: str | None = None


class Parsed(NamedTuple, Generic[M]):
    """A message, None if it is skipped, and what of it was passed over."""

    message: M | None
    passed_over: tuple[PassedOver, ...] = ()


class SessionReader(Generic[M]):
    """Reads the frames of one session; `peer` says in log lines who sends them."""

    def __init__(self, parse: Callable[[str | bytes], Parsed[M]], **peer: str) -> None:
        self.protocol: int | None = None
        """The protocol version of the other end, known once it has joined."""
        self._parse = parse
        self._peer = peer
        self._mentions = tolerant.Mentions()

    def read(self, frame: str | bytes) -> M | None:
        """Read one frame; None if it is to be skipped. Raises ProtocolError."""
        message, passed_over = self._parse(frame)
        if isinstance(message, Join | Joined):
            self.protocol = message.protocol
        for one in passed_over:
            if self._mentions.is_first(one.event, one.type, one.field):
                log.warning(
                    one.event,
                    type=one.type,
                    **({"id": one.id} if one.id is not None else {}),
                    field=one.field or None,
                    reason=one.reason,
                    protocol=self.protocol,
                    **self._peer,
                )
        return message

    def __repr__(self) -> str:
        """Show the version of the other end."""
        return f"<SessionReader of protocol version {self.protocol}>"


def read_from_instance(frame: str | bytes) -> Parsed[FromInstance]:
    """Read a frame of an instance. Raises ProtocolError for what ends the session."""
    if isinstance(frame, bytes):
        return _skipped("binary", "", "not a text message")
    try:
        return Parsed(parse_from_instance(frame))
    except ValidationError:
        pass
    try:
        data = pydantic_core.from_json(frame)
    except ValueError as error:
        raise ProtocolError(f"Invalid JSON: {error}") from None
    if not isinstance(data, dict):
        raise ProtocolError("A message is a JSON object with a type.")
    return _read_known(_OF_INSTANCES, data)


def read_from_registry(frame: str | bytes) -> Parsed[FromRegistry]:
    """Read a frame of a registry. What is not a message is skipped: the table we have still counts."""
    if isinstance(frame, bytes):
        return _skipped("binary", "", "not a text message")
    try:
        return Parsed(parse_from_registry(frame))
    except ValidationError:
        pass
    try:
        data = tolerant.parse(frame)
    except ValueError as error:
        return _skipped("invalid", "", f"Invalid JSON: {error}")
    return _read_known(_OF_REGISTRIES, data)


def _read_known(models: Mapping[str, type[BaseModel]], data: object) -> Parsed[Any]:
    name = data.get("type") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(name, str):
        return _skipped("none", "type", "not an object with a type")
    model = models.get(name)
    if model is None:
        return _skipped(printable(name, _MAX_WORD), "", "unknown type")
    rows: tuple[PassedOver, ...] = ()
    if model is Join:
        data, rows = _with_own_row(data)
    elif name in _ROWS:
        data, rows = _with_rows(name, data)
    message, left_out = tolerant.read(model, data)
    event: Literal["message.skipped", "field.unreadable"]
    event = "message.skipped" if message is None else "field.unreadable"
    return Parsed(message, (*rows, *_passed_over(event, name, left_out)))


def _with_own_row(data: dict[str, Any]) -> tuple[dict[str, Any], tuple[PassedOver, ...]]:
    """Read the row of the instance that joins. Its state need not be known: the registry sets it."""
    row = data.get("instance")
    if row is None:
        return data, ()
    reading = tolerant.read(Instance, row)
    if reading.value is None:
        last = reading.left_out[-1]
        raise ProtocolError(f"{'.'.join(filter(None, ('join.instance', last.field)))}: {last.reason}")
    passed_over = _passed_over("row.unreadable", "join", reading.left_out, reading.value.id)
    return {**data, "instance": reading.value}, passed_over


def _with_rows(name: str, data: dict[str, Any]) -> tuple[dict[str, Any], tuple[PassedOver, ...]]:
    """Read the rows one by one; an instance whose row cannot be read is gone for this reader."""
    rows = data.get(_ROWS[name])
    if not isinstance(rows, list):
        return data, ()
    kept: list[Instance] = []
    gone: list[GoneInstance] = []
    passed_over: dict[tuple[str, str], PassedOver] = {}
    for row in rows:
        instance, left_out = Instance.read(row)
        id_ = row["id"] if _has_id(row) else None
        if instance is not None:
            kept.append(instance)
        elif id_ is not None:
            gone.append(GoneInstance(id=id_, why=Departure.LOST))
        for one in _passed_over("row.unreadable", name, left_out, id_):
            passed_over.setdefault((one.event, one.field), one)
    fields = {**data, _ROWS[name]: kept}
    if gone:
        told = data.get("gone")
        named = (one for one in (told if isinstance(told, list) else ()) if _has_id(one))
        fields["gone"] = [*gone, *named]
    return fields, tuple(passed_over.values())


def _has_id(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)


def _passed_over(
    event: Literal["message.skipped", "row.unreadable", "field.unreadable"],
    type_: str,
    left_out: tuple[tolerant.LeftOut, ...],
    id_: str | None = None,
) -> tuple[PassedOver, ...]:
    shown = None if id_ is None else printable(id_, _MAX_WORD)
    return tuple(
        PassedOver(event, type_, one.field, printable(one.reason, _MAX_REASON), shown) for one in left_out
    )


def _skipped(type_: str, field: str, reason: str) -> Parsed[Any]:
    return Parsed(None, (PassedOver("message.skipped", type_, field, printable(reason, _MAX_REASON)),))


def _by_type(union: object) -> Mapping[str, type[BaseModel]]:
    """Return the classes of a union of messages by their `type`."""
    members: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return {str(member.model_fields["type"].default): member for member in members}


_OF_INSTANCES = _by_type(FromInstance)
_OF_REGISTRIES = _by_type(FromRegistry)
