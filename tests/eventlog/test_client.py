"""Following the log: batches are what stands between the lines that say how far it is, however cut."""

import json
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.events import Recorded
from blog.eventlog import client
from blog.eventlog.client import BusLost, EventBatch, _batches
from blog.eventlog.wire import LOG_HEADER

text = st.text(max_size=8) | st.sampled_from(['\n{"through":7}\n', '{"through": 7}', "\u2028", "]"])
data = st.dictionaries(text, text | st.dictionaries(st.sampled_from(["through", "a"]), st.integers()))
pages = st.lists(st.lists(data, max_size=3), max_size=4)


def stream(content: Sequence[Sequence[dict[str, Any]]], gap: str = " ") -> tuple[bytes, list[Any]]:
    """Write pages of events with these data; return the bytes, and what a follower is to get."""
    sent, expected, sequence = "", [], 0
    for page in content:
        events = []
        for item in page:
            sequence += 1
            event = {"specversion": "1.0", "id": f"e{sequence}", "type": "t", "sequence": sequence}
            sent += json.dumps(event | {"data": item}, ensure_ascii=False) + "\n"
            events.append(Recorded(sequence, f"e{sequence}", "t", item))
        sent += f'{{"through":{gap}{sequence}}}\n'
        expected.append((events, sequence))
    return sent.encode(), expected


async def read(chunks: Sequence[bytes]) -> list[EventBatch]:
    """Read what came in these pieces."""

    async def iter_any() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    response = SimpleNamespace(headers={LOG_HEADER: "log-1"}, content=SimpleNamespace(iter_any=iter_any))
    return [batch async for batch in _batches(cast("aiohttp.ClientResponse", response))]


@given(content=pages, sizes=st.lists(st.integers(1, 60), min_size=1), gap=st.sampled_from(["", " "]))
async def test_batches_do_not_depend_on_how_bytes_arrive(
    content: list[list[dict[str, Any]]], sizes: list[int], gap: str
) -> None:
    """Nor on what looks like such a line inside of an event."""
    sent, expected = stream(content, gap)
    chunks: list[bytes] = []
    place = 0
    while place < len(sent):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(sent[place : place + size])
        place += size
    found = await read(chunks)
    assert [(batch.events, batch.through) for batch in found] == expected
    assert {batch.log for batch in found} <= {"log-1"}


@given(content=pages.filter(bool), share=st.floats(0, 1, exclude_max=True))
async def test_what_is_cut_off_was_never_said(content: list[list[dict[str, Any]]], share: float) -> None:
    """A batch is whole or it comes again."""
    sent, expected = stream(content)
    found = await read([sent[: int(len(sent) * share)]])
    assert [(batch.events, batch.through) for batch in found] == expected[: len(found)]
    assert len(found) < len(expected)


@pytest.mark.parametrize("line", [b"{", b"7", b'{"id":"e"}', b'{"sequence":1,"id":"e","type":"t"}'])
async def test_a_line_that_is_no_event_breaks_the_stream(line: bytes) -> None:
    """Whoever follows comes back; nothing is made up."""
    [batch] = await read([line + b'\n{"through": 1}\n'])
    with pytest.raises(BusLost, match="no event"):
        _ = batch.events


async def test_a_page_without_an_end_breaks_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held until the bus says how far it is has a bound; a page of that size is read."""
    monkeypatch.setattr(client, "_MAX_PAGE", 1000)
    assert len(await read([b"x" * 980, b'\n{"through":1}\n'])) == 1
    with pytest.raises(BusLost, match="more than 1000 bytes"):
        await read([b"x" * 600, b"x" * 600, b'\n{"through":1}\n'])


async def test_a_number_that_is_none_breaks_the_stream() -> None:
    """The same for how far it is."""
    with pytest.raises(BusLost, match="through"):
        await read([b'{"through": soon}\n'])
