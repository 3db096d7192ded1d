"""Body: what a client sends after the head. Small ones are kept to be sent again, others flow through.

No decision about retries is made here; a body only knows whether it still has all of itself.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from blog.core.errors import BlogError, Malformed, TooLarge
from blog.http.limits import BODY_LIMIT, IDLE_TIMEOUT, REPLAY_LIMIT


class Body:
    """The body of `request`. `error` is what the client did wrong while it was passed on."""

    def __init__(self, request: web.Request) -> None:
        self.error: BlogError | None = None
        self._stream = request.content
        self._length = request.content_length
        self._is_there = request.body_exists
        self._kept = b""
        self._is_whole = not self._is_there
        self._is_touched = False
        self._size = 0
        if (self._length or 0) > BODY_LIMIT:
            raise _too_large()

    async def keep(self, *, is_repeatable: bool) -> None:
        """Read ahead what has to be replayable: small bodies, and the start of those of unknown length.

        Bodies of unknown length are only kept for requests that may be sent twice at all.
        Raises Malformed or TooLarge.
        """
        if self._length is None and not is_repeatable:
            return
        if (self._length or 0) > REPLAY_LIMIT:
            return
        while not self._is_whole and len(self._kept) <= REPLAY_LIMIT:
            chunk = await self._read()
            self._kept += chunk
            self._is_whole = not chunk

    def can_be_sent(self) -> bool:
        """Tell whether all of it is still here: whole in memory, or not yet asked for."""
        return self._is_whole or not self._is_touched

    def headers(self) -> dict[str, str]:
        """Return the length, where it is known: it frames what is passed on."""
        if not self._is_there or self._is_whole or self._length is None:
            return {}
        return {hdrs.CONTENT_LENGTH: str(self._length)}

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """Return it for one attempt to send it; None when there is none."""
        if not self._is_there:
            return None
        return self._kept if self._is_whole else self._flow()

    async def _flow(self) -> AsyncIterator[bytes]:
        self._is_touched = True
        try:
            if self._kept:
                yield self._kept
            while chunk := await self._read():
                yield chunk
        except BlogError as error:
            self.error = error
            raise

    async def _read(self) -> bytes:
        """Read what is there; empty at the end."""
        try:
            async with asyncio.timeout(IDLE_TIMEOUT):
                chunk = await self._stream.readany()
        except TimeoutError:
            raise Malformed("The body did not come.") from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise Malformed(f"The body cannot be read: {error}") from None
        self._size += len(chunk)
        if self._size > BODY_LIMIT:
            raise _too_large()
        return chunk

    def __repr__(self) -> str:
        """Show how much was read, and whether it can be sent again."""
        return f"<Body: {self._size} bytes read, {'whole' if self._is_whole else 'flowing'}>"


def _too_large() -> TooLarge:
    return TooLarge(f"The body is over {BODY_LIMIT} bytes.")
