"""Events know their key and type; envelopes are CloudEvents that keep what they do not know."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from blog.core.events import Envelope, Event, Recorded, is_later

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class PageTurned(Event, key="book_id"):
    """An event for these tests."""

    book_id: str
    page: int


def test_type_is_the_class_name_and_key_the_field() -> None:
    """The class line is all that an author writes."""
    event = PageTurned(book_id="b1", page=3)
    assert (event.type, event.key) == ("blog.PageTurned", "b1")


def test_an_event_class_without_a_key_is_refused() -> None:
    """An event nobody can order is a mistake found at import."""
    with pytest.raises(TypeError, match="needs key="):
        type("Lost", (Event,), {"__annotations__": {"x": int}, "__module__": __name__})


class PageTornOut(Event, key="book_id", version=3):
    """An event whose meaning has changed twice."""

    book_id: str


def test_a_version_travels_with_the_event_unless_it_is_the_first() -> None:
    """As the extension `dataversion`, which readers of before ignore."""
    sent = [
        Envelope.of(event, id="e", service="books", time=NOON).to_json()
        for event in (PageTurned(book_id="b", page=1), PageTornOut(book_id="b"))
    ]
    assert "dataversion" not in sent[0]
    assert '"dataversion":3' in sent[1]


@pytest.mark.parametrize(("version", "later"), [(None, False), (1, False), (3, False), (4, True)])
def test_a_class_reads_its_own_version_and_those_before(version: int | None, later: bool) -> None:  # noqa: FBT001
    """What is later is for others."""
    assert is_later(Recorded(1, "e", PageTornOut.type, {}, version), PageTornOut) is later


def test_a_version_below_the_first_is_refused() -> None:
    """A mistake found at import, and at the door."""
    with pytest.raises(TypeError, match="version="):
        type("Lost", (PageTurned,), {"__module__": __name__}, version=0)
    good = Envelope.of(PageTurned(book_id="b", page=1), id="e", service="s", time=NOON)
    with pytest.raises(ValidationError):
        Envelope.model_validate(good.model_dump() | {"dataversion": 0})


def test_an_older_reader_ignores_what_a_newer_writer_adds() -> None:
    """Unknown fields do not stop a reader."""
    assert PageTurned.model_validate({"book_id": "b", "page": 1, "mood": "good"}).page == 1


def test_the_envelope_survives_the_wire_with_unknown_extensions() -> None:
    """What comes in goes out, but absent extensions stay absent."""
    event = PageTurned(book_id="b1", page=3)
    sent = Envelope.of(event, id="e1", service="books", time=NOON).to_json()
    assert "sequence" not in sent
    back = Envelope.model_validate_json(sent[:-1] + ',"partof":"x"}')
    assert back.subject == "b1"
    assert back.source == "/books"
    assert '"partof":"x"' in back.to_json()


@pytest.mark.parametrize(
    "change", [{"specversion": "0.3"}, {"id": ""}, {"time": "yesterday"}, {"data": 7}, {"type": ""}]
)
def test_a_bad_envelope_is_refused(change: dict[str, object]) -> None:
    """CloudEvents 1.0 has required attributes."""
    good = Envelope.of(PageTurned(book_id="b", page=1), id="e", service="s", time=NOON)
    with pytest.raises(ValidationError):
        Envelope.model_validate(good.model_dump() | change)


@pytest.mark.filterwarnings("ignore:Field name")  # pydantic's, who only warns
def test_a_field_cannot_be_called_key() -> None:
    """It would hide what orders the event."""
    with pytest.raises(TypeError, match="called key"):

        class Locked(Event, key="key"):
            key: str
