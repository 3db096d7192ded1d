"""Appends events to a bus that is killed again and again, and notes what it was told.

`python bus_writer.py PORT NOTES TOKEN CALLERS`: a line `sent ID` before a request, `done ID SEQUENCE`
after a 200. Whatever was not answered is sent again with the same id, as services do.
"""

import asyncio
import json
import os
import sys

_HEAD = (
    "POST /events HTTP/1.1\r\nHost: bus\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
)


class Writer:
    """Many callers, one request each at a time."""

    def __init__(self, port: int, notes: int, token: str) -> None:
        self._port = port
        self._notes = notes
        self._head = _HEAD.format(token)

    async def call(self, name: str) -> None:
        """Append one event after the other, for ever."""
        count = 0
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                while True:
                    await self._append(reader, writer, f"{name}-{count}")
                    count += 1
            except (OSError, EOFError):
                await asyncio.sleep(0.01)

    async def _append(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, id_: str) -> None:
        event = {
            "specversion": "1.0", "id": id_, "source": "/writer", "type": "blog.Written",
            "subject": id_.partition("-")[0], "time": "2026-01-01T00:00:00Z", "data": {"id": id_},
        }  # fmt: skip
        body = json.dumps(event)
        os.write(self._notes, f"sent {id_}\n".encode())
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        if head.split()[1] != "200":
            raise OSError(head)
        os.write(self._notes, f"done {id_} {answer['results'][0]['sequence']}\n".encode())


async def main() -> None:
    """Write until it is killed."""
    port, notes, token, callers = sys.argv[1:]
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = Writer(int(port), file, token)
    await asyncio.gather(*(writer.call(f"w{n}") for n in range(int(callers))))


if __name__ == "__main__":
    asyncio.run(main())
