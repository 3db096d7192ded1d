"""Events: what happened, as typed frozen data, and the CloudEvents 1.0 envelope they travel in."""

from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

TYPE_PREFIX = "blog."
BATCH_TYPE = "application/cloudevents-batch+json"
EVENT_TYPE = "application/cloudevents+json"
NDJSON_TYPE = "application/x-ndjson"


class Event(BaseModel):
    """Base of every event class: `class CommentCreated(Event, key="post_id")`.

    `key` names the field whose value orders events: events of one key are handled in log order.
    Unknown fields are ignored, so that an older reader understands what a newer writer adds. A change
    that an older reader must not misread needs another `version=` (default 1): readers skip later
    versions than their own. A class reads the data of its own version and of all before.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = TYPE_PREFIX
    key_field: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **_: Any) -> None:
        """Pass keywords of the class line on to where the fields are known."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, key: str = "", version: int = 1, **kwargs: Any) -> None:
        """Take key and version from the class line and the type from the class name."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.type = TYPE_PREFIX + cls.__name__
        cls.version = version
        cls.key_field = key or cls.key_field
        if "key" in cls.model_fields:
            raise TypeError(f"{cls.__name__}: no field can be called key: it is what orders events")
        if cls.key_field not in cls.model_fields:
            raise TypeError(f"{cls.__name__} needs key=..., the name of one of its fields")
        if version < 1:
            raise TypeError(f"{cls.__name__} needs version=..., 1 or more")

    @property
    def key(self) -> str:
        """The value that orders this event among others."""
        return str(getattr(self, self.key_field))


class Envelope(BaseModel):
    """An event on the wire and in the log: CloudEvents 1.0, JSON format, structured mode.

    `subject` is the event's key. `sequence` is given by the log (1, 2, 3 … without gaps) and absent
    before. Extensions: `dataversion` (of the event's class; absent: 1), `traceparent`, `causationid`
    (the event this follows from), `requesthash` (of the request that an idempotency key belongs to).
    Others are kept as they came.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: str = Field(default="1.0", pattern=r"^1\.0$")
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=256)
    type: str = Field(min_length=1, max_length=256)
    subject: str = Field(min_length=1, max_length=256)
    time: AwareDatetime
    datacontenttype: str = "application/json"
    data: dict[str, JsonValue]
    sequence: int | None = Field(default=None, ge=1)
    dataversion: int | None = Field(default=None, ge=1)
    traceparent: str | None = None
    causationid: str | None = None
    requesthash: str | None = None

    @classmethod
    def of(  # noqa: PLR0913 - the fields of an envelope
        cls,
        event: Event,
        *,
        id: str,  # noqa: A002 - CloudEvents calls it id
        service: str,
        time: datetime,
        traceparent: str | None = None,
        causationid: str | None = None,
        requesthash: str | None = None,
    ) -> Self:
        """Wrap `event` as written by `service` at `time`."""
        return cls(
            id=id,
            source=f"/{service}",
            type=event.type,
            subject=event.key,
            time=time,
            data=event.model_dump(mode="json"),
            dataversion=event.version if event.version > 1 else None,
            traceparent=traceparent,
            causationid=causationid,
            requesthash=requesthash,
        )

    def to_json(self) -> str:
        """Encode for the wire, without absent extensions."""
        return self.model_dump_json(exclude_none=True)


class Recorded(NamedTuple):
    """The part of an event in the log that readers need: an `Envelope`'s fields, by the same names.

    Following the log makes one per event, and a whole envelope would cost most of that work.
    """

    sequence: int
    id: str
    type: str
    data: dict[str, JsonValue]
    dataversion: int | None = None


def is_later(event: Envelope | Recorded, known: type[Event]) -> bool:
    """Return whether `event` is of a later version than the class `known` can read."""
    return (event.dataversion or 1) > known.version
