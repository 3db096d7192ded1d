"""What one side of the log's API writes, the other one reads; a stream is read however it is cut."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from blog.core.errors import Invalid
from blog.core.events import Recorded
from blog.eventlog.client import EventBatch, UnreadableEvent
from blog.eventlog.wire import (
    Appended,
    Head,
    StreamDecoder,
    decode_appended,
    decode_expected_version,
    decode_head,
    encode_appended,
    encode_expected_version,
    encode_head,
    encode_page,
)

text = st.text(max_size=8) | st.sampled_from(['\n{"through":7}\n', '{"through": 7}', "\u2028", "]"])
data = st.dictionaries(text, text | st.dictionaries(st.sampled_from(["through", "a"]), st.integers()))
pages = st.lists(st.lists(data, max_size=3), max_size=4)


def stream(content: Sequence[Sequence[dict[str, Any]]], gap: str = " ") -> tuple[bytes, list[Any]]:
    """Write pages of events with these data; return the bytes, and what a follower is to get."""
    sent, expected, sequence = b"", [], 0
    for page in content:
        lines, events = [], []
        for item in page:
            sequence += 1
            event = {"specversion": "1.0", "id": f"e{sequence}", "type": "t", "sequence": sequence}
            lines.append(json.dumps(event | {"data": item}, ensure_ascii=False))
            events.append(Recorded(sequence, f"e{sequence}", "t", item))
        sent += encode_page(lines, sequence).replace(b'\n{"through": ', b'\n{"through":' + gap.encode())
        expected.append((events, sequence))
    return sent, expected


def read(chunks: Sequence[bytes], most: int = 1 << 20) -> list[EventBatch]:
    """Read what came in these pieces."""
    decoder = StreamDecoder(most)
    return [EventBatch("log-1", *page) for chunk in chunks for page in decoder.feed(chunk)]


@given(content=pages, sizes=st.lists(st.integers(1, 60), min_size=1), gap=st.sampled_from(["", " "]))
def test_pages_do_not_depend_on_how_bytes_arrive(
    content: list[list[dict[str, Any]]], sizes: list[int], gap: str
) -> None:
    """Nor on what looks like their last line inside of an event."""
    sent, expected = stream(content, gap)
    chunks: list[bytes] = []
    place = 0
    while place < len(sent):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(sent[place : place + size])
        place += size
    assert [(page.events, page.through) for page in read(chunks)] == expected


@given(content=pages.filter(bool), share=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_off_was_never_sent(content: list[list[dict[str, Any]]], share: float) -> None:
    """A page is whole or it comes again."""
    sent, expected = stream(content)
    found = read([sent[: int(len(sent) * share)]])
    assert [(page.events, page.through) for page in found] == expected[: len(found)]
    assert len(found) < len(expected)


def test_a_page_without_an_end_is_an_error() -> None:
    """What is held until the bus says how far it is has a bound; a page of that size is read."""
    assert len(read([b"x" * 980, b'\n{"through":1}\n'], 1000)) == 1
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        read([b"x" * 600, b"x" * 600, b'\n{"through":1}\n'], 1000)


def test_an_invalid_number_is_an_error() -> None:
    """Nothing is made up about how far a page goes."""
    with pytest.raises(ValueError, match="through"):
        read([b'{"through": soon}\n'])


@given(st.lists(st.builds(Appended, st.text(), st.integers(1, 2**53 - 1), st.booleans())))
def test_what_was_appended_arrives(appended: list[Appended]) -> None:
    """In order."""
    assert decode_appended(encode_appended(appended)) == appended


def test_the_head_arrives() -> None:
    """With the names that every version of a client knows."""
    assert json.loads(encode_head(Head("log-1", 7))) == {"log": "log-1", "sequence": 7}
    assert decode_head(encode_head(Head("log-1", 7)).encode()) == Head("log-1", 7)


@given(st.integers(0, 10**18 - 1), st.frozensets(st.text()))
def test_an_expected_version_arrives(sequence: int, types: frozenset[str]) -> None:
    """With its types, none or many."""
    query = MultiDict(encode_expected_version(sequence, types))
    assert decode_expected_version(query) == (sequence, types)


def test_types_without_a_sequence_are_an_error() -> None:
    """They would say nothing; without either nothing is expected."""
    assert decode_expected_version(MultiDict()) is None
    with pytest.raises(Invalid, match="needs expectedsequence"):
        decode_expected_version(MultiDict(expectedtype="t"))


EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e1", "type": "t", "sequence": 1, "data": {"a": 1}}


@pytest.mark.parametrize(
    "line",
    [
        {"retention": {"after": 7}},
        {"type": "notice", "data": {}},
        {"heartbeat": True, "through_of_others": 9},
        {},
    ],
)
def test_lines_of_a_later_version_that_are_no_events_are_passed_over(line: dict[str, Any]) -> None:
    """And so are fields of an event, and of the line that ends a page."""
    lines = [json.dumps(line), json.dumps(EVENT | {"partition": 3, "trace": {}}), json.dumps(line)]
    sent = encode_page(lines, 1).replace(b'"through": 1', b'"through": 1, "head": 5, "x": [{}]')
    [page] = read([sent])
    assert (page.events, page.through) == ([Recorded(1, "e1", "t", {"a": 1})], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": [1]},
        {"data": "packed"},
        {"sequence": "1"},
        {"sequence": 1.5},
        {"sequence": True},
        {"sequence": None},
        {"sequence": 0},
        {"sequence": 2**63},
        {"id": 5},
        {"type": ["t"]},
        {"type": None},
        {"dataversion": "2.1"},
    ],
)
def test_an_event_that_cannot_be_read_is_never_passed_over(change: dict[str, Any]) -> None:
    """A view without it would be wrong, and would not know; what comes before it can be had."""
    others = [json.dumps(EVENT | {"id": f"e{number}", "sequence": number}) for number in (1, 2, 9)]
    [page] = read([encode_page([*others[:2], json.dumps(EVENT | change), others[2]], 9)])
    with pytest.raises(UnreadableEvent, match="not a valid event") as caught:
        _ = page.events
    before = caught.value.before
    assert ([event.sequence for event in before.events], before.through) == ([1, 2], 2)


@pytest.mark.parametrize(
    "through", ["-1", "true", "null", '"1"', "1.5", "{}", "1e99", "9" * 30, "9" * 5000]
)
def test_how_far_a_page_goes_is_a_whole_number(through: str) -> None:
    """Or the stream is broken."""
    with pytest.raises(ValueError, match="through"):
        read([f'{{"through": {through}}}\n'.encode()])


def test_results_of_a_later_version_are_read() -> None:
    """Without what is new; one that lacks what is needed makes all of them unreadable."""
    result = {"id": "e1", "sequence": 3, "duplicate": False, "partition": 1}
    body = json.dumps({"results": [result, {"id": "e2", "sequence": 4}], "head": 4}).encode()
    assert decode_appended(body) == [Appended("e1", 3), Appended("e2", 4)]
    assert decode_head(b'{"log": "l", "sequence": 3, "epoch": 7}') == Head("l", 3)
    for wrong in (
        b"",
        b"[]",
        b"{}",
        b'{"results": 5}',
        b'{"results": [5]}',
        b'{"results": [{"id": "e"}]}',
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            decode_appended(wrong)
        with pytest.raises(ValueError):  # noqa: PT011 - any
            decode_head(wrong)
