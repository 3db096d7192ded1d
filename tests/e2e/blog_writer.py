"""Writes comments and posts through the gateway of a blog that has trouble, and notes what it was told.

`python -m tests.e2e.blog_writer PORT NOTES CALLERS POST...`: a line `sent MARK` before a request, then
`done MARK SEQUENCE` for a 201, else `failed MARK STATUS RETRY-AFTER`, or `failed MARK lost`: no answer.
Every other caller has an Idempotency-Key and repeats what failed until it is taken; others go on.
WRITER_PAUSE: the seconds that a caller does nothing after each write.
"""

import asyncio
import json
import os
import sys
from itertools import count

PAUSE = 0.02
"""Seconds before somebody who was refused comes again."""
REST = float(os.environ.get("WRITER_PAUSE", "0"))


class Writer:
    """Many callers, one request each at a time."""

    def __init__(self, port: int, notes: int, posts: list[str]) -> None:
        self._port = port
        self._notes = notes
        self._posts = posts

    async def call(self, number: int) -> None:
        """Write one after the other, for ever. The first caller writes posts."""
        has_key = number % 2 == 1
        for n in count():
            mark = f"w{number}-{n}"
            if number == 0:
                path, content = "/posts", {"title": mark}
            else:
                path, content = f"/posts/{self._posts[n % len(self._posts)]}/comments", {"content": mark}
            await self._until_taken(mark, path, json.dumps(content).encode(), has_key=has_key)
            await asyncio.sleep(REST)

    async def _until_taken(self, mark: str, path: str, body: bytes, *, has_key: bool) -> None:
        while not await self._once(mark, path, body, has_key=has_key):
            await asyncio.sleep(PAUSE)
            if not has_key:
                return

    async def _once(self, mark: str, path: str, body: bytes, *, has_key: bool) -> bool:
        self._note(f"sent {mark}")
        try:
            status, fields = await self._exchange(path, body, mark if has_key else None)
        except (OSError, EOFError):
            self._note(f"failed {mark} lost")
            return False
        if status == "201":
            self._note(f"done {mark} {fields['blog-sequence']}")
            return True
        self._note(f"failed {mark} {status} {fields.get('retry-after', '-')}")
        return False

    async def _exchange(self, path: str, body: bytes, key: str | None) -> tuple[str, dict[str, str]]:
        """Ask over a connection of its own; return the status and the fields of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [f"POST {path} HTTP/1.1", "Host: blog", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"Idempotency-Key: {key}"] if key else []
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            answer = await reader.read()
        finally:
            writer.close()
        head, ended, _ = answer.decode().partition("\r\n\r\n")
        if not ended:
            raise EOFError
        first, *rest = head.split("\r\n")
        return first.split()[1], {
            name.lower(): value for name, _, value in (f.partition(": ") for f in rest)
        }

    def _note(self, line: str) -> None:
        os.write(self._notes, f"{line}\n".encode())


async def main() -> None:
    """Write until it is killed."""
    port, notes, callers, *posts = sys.argv[1:]
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = Writer(int(port), file, posts)
    await asyncio.gather(*(writer.call(n) for n in range(int(callers))))


if __name__ == "__main__":
    asyncio.run(main())
