"""Tolerant reader: what another version wrote, as one of our models, as far as it can be read. Pure.

Unknown fields are ignored. A field with a default that cannot be read has its default, and of a list or a
mapping only those members are left out that cannot be read.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

M = TypeVar("M", bound=BaseModel)
Validate = Callable[[Any], Any]

MAX_LEFT_OUT = 100
"""Members of one field that are left out one by one; with more of them the field counts as unreadable."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_MAX_DIGITS = 4300  # Python's own limit, above which an integer is not worth its time
_MAX_KINDS = 64


class LeftOut(NamedTuple):
    """A part that could not be read: the field, and why. `field` is "" for data that is not an object."""

    field: str
    reason: str


class Reading(NamedTuple, Generic[M]):
    """What was read, None if not even that was possible, and what was left out of it."""

    value: M | None
    left_out: tuple[LeftOut, ...] = ()

    def required(self) -> M:
        """Return what was read. Raises ValueError that names the field which could not be."""
        if self.value is None:
            raise ValueError(": ".join(filter(None, self.left_out[-1])))
        return self.value


class Mentions:
    """What was said already, so that each kind is said once; of at most 64 kinds, whatever comes."""

    def __init__(self) -> None:
        self._kinds: set[tuple[str, ...]] = set()

    def is_first(self, *kind: str) -> bool:
        """Return whether this kind was not said before, and record it as said."""
        if kind in self._kinds or len(self._kinds) >= _MAX_KINDS:
            return False
        self._kinds.add(kind)
        return True

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Mentions of {len(self._kinds)} kinds>"


def read(model: type[M], data: object, essential: Collection[str] = ()) -> Reading[M]:
    """Read the JSON value `data` as `model`; None if a field is unreadable that it cannot do without.

    Those are the fields without a default, and those in `essential`.
    """
    try:
        return Reading(model.model_validate(data))
    except ValidationError as error:
        if not isinstance(data, Mapping):
            return Reading(None, (LeftOut("", _reason(error)),))
    return _read_by_field(model, data, essential)


def parse(text: str | bytes) -> Any:
    """Parse JSON of another program. Raises ValueError when it is not JSON, however that shows.

    What would make all of it unreadable is replaced: an integer of more than 4300 digits by an infinite
    float, which no field takes, and half of a surrogate pair (RFC 8259 §8.2) by a question mark.
    """
    try:
        value = json.loads(text, parse_int=_integer)
        if _SURROGATE.search(text if isinstance(text, str) else text.decode(errors="replace")):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    return value


def _read_by_field(model: type[M], data: Mapping[Any, Any], essential: Collection[str]) -> Reading[M]:
    fields: dict[str, Any] = {}
    left_out: list[LeftOut] = []
    for name, field in _fields(model).items():
        if name not in data:
            continue
        value, unreadable = field.read(data[name])
        if unreadable is not None:
            left_out.append(LeftOut(name, unreadable))
        if value is not _NOTHING:
            fields[name] = value
        elif field.is_required or name in essential:
            return Reading(None, tuple(left_out))
    try:
        return Reading(model.model_validate(fields), tuple(left_out))
    except (
        ValidationError
    ) as error:  # a required field is missing, or a rule of the whole model is broken
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        return Reading(None, (*left_out, LeftOut(place, first["msg"])))


_NOTHING = object()


class _FieldReader(NamedTuple):
    """How a field is read: as a whole and, for a list or a mapping, member by member."""

    is_required: bool
    whole: Validate
    members: Callable[[Any], tuple[Any, str | None]] | None

    def read(self, value: object) -> tuple[Any, str | None]:
        """Return what can be read (`_NOTHING`: nothing), and why not all of it."""
        try:
            return self.whole(value), None
        except ValidationError as error:
            reason = _reason(error)
        if self.members is None:
            return _NOTHING, reason
        kept, why = self.members(value)
        return kept, why or reason


@lru_cache(maxsize=64)
def _fields(model: type[BaseModel]) -> dict[str, _FieldReader]:
    return {
        name: _FieldReader(
            field.is_required(),
            _validator(
                Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            ),
            _members(field.annotation),
        )
        for name, field in model.model_fields.items()
    }


def _members(annotation: Any) -> Callable[[Any], tuple[Any, str | None]] | None:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is UnionType and len(kinds) == 1:  # `… | None`
        annotation = kinds[0]
    match get_origin(annotation), get_args(annotation):
        case (origin, (item, last)) if origin is tuple and last is Ellipsis:
            validate = _validator(item)
            return lambda value: _elements(value, validate)
        case (origin, (_, _)) if origin is dict:
            entry = _validator(annotation)
            return lambda value: _entries(value, entry)
    return None


def _elements(value: object, validate: Validate) -> tuple[Any, str | None]:
    if not isinstance(value, list | tuple):
        return _NOTHING, None
    kept: list[Any] = []
    reason, unreadable = None, 0
    for item in value:
        try:
            kept.append(validate(item))
        except ValidationError as error:
            reason, unreadable = _reason(error), unreadable + 1
            if unreadable > MAX_LEFT_OUT:
                return _NOTHING, reason
    return tuple(kept), reason


def _entries(value: object, validate: Validate) -> tuple[Any, str | None]:
    if not isinstance(value, dict):
        return _NOTHING, None
    kept: dict[Any, Any] = {}
    reason, unreadable = None, 0
    for key, item in value.items():
        try:
            kept |= validate({key: item})
        except ValidationError as error:
            reason, unreadable = _reason(error), unreadable + 1
            if unreadable > MAX_LEFT_OUT:
                return _NOTHING, reason
    return kept, reason


def _validator(annotation: Any) -> Validate:
    return TypeAdapter(annotation).validate_python


def _reason(error: ValidationError) -> str:
    """Return what is wrong first, with the place within the field, without the input."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
