"""Events: what happened, as typed frozen data, and the CloudEvents 1.0 envelope they travel in."""

from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

TYPE_PREFIX = "blog."
BATCH_TYPE = "application/cloudevents-batch+json"
EVENT_TYPE = "application/cloudevents+json"
NDJSON_TYPE = "application/x-ndjson"


class Event(BaseModel):
    """Base of every event class: `class CommentCreated(Event, key="post_id")`.

    `key` names the field whose value orders events: events of one key are handled in log order.
    Unknown fields are ignored, so that an older reader understands what a newer writer adds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = TYPE_PREFIX
    key_field: ClassVar[str] = ""

    def __init_subclass__(cls, **_: Any) -> None:
        """Let keywords of the class line through to where the fields are known."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, key: str = "", **kwargs: Any) -> None:
        """Take the key from the class line and the type from the class name."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.type = TYPE_PREFIX + cls.__name__
        cls.key_field = key or cls.key_field
        if cls.key_field not in cls.model_fields:
            raise TypeError(f"{cls.__name__} needs key=..., the name of one of its fields")

    @property
    def key(self) -> str:
        """The value that orders this event among others."""
        return str(getattr(self, self.key_field))


class Envelope(BaseModel):
    """An event on the wire and in the log: CloudEvents 1.0, JSON format, structured mode.

    `subject` is the event's key. `sequence` is given by the log (1, 2, 3 … without gaps) and absent
    before. Extensions: `traceparent`, `causationid` (the event this follows from), `requesthash`
    (of the request that an idempotency key belongs to). Others are kept as they came.
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
            traceparent=traceparent,
            causationid=causationid,
            requesthash=requesthash,
        )

    def to_json(self) -> str:
        """Encode for the wire, without absent extensions."""
        return self.model_dump_json(exclude_none=True)
