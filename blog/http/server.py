"""Server: one client's connection. Bytes → heads and bodies, in order; answers go back the same way.

What a request means is the application's business. Here is kept what a door owes everybody: nothing
ambiguous gets in, nobody holds a place by being slow, and a second request waits for the first's answer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from blog.core.errors import BlogError, Malformed, TooSlow
from blog.http.application import Application, Handler
from blog.http.connection import Connection, unacknowledged
from blog.http.connection_limits import ConnectionLimiter
from blog.http.framing import NO_BODY, BodyReader, request_body
from blog.http.heads import END, RequestHead, parse_request
from blog.http.limits import HEAD_LIMIT
from blog.http.parser import refusal_of_beginning
from blog.http.write_coalescer import WriteCoalescer

CR = ord("\r")


class ServerConnection(Connection):
    """One connection. `keeps_alive` tells whether another request may follow the current one."""

    __slots__ = (
        "_application",
        "_body",
        "_buffer",
        "_handling",
        "_head",
        "_is_advancing",
        "_is_answering",
        "_is_ending",
        "_is_headless",
        "_now",
        "_places",
        "address",
        "idle_since",
        "keeps_alive",
        "memo",
        "scheme",
    )

    def __init__(
        self,
        application: Application,
        places: ConnectionLimiter,
        now: Callable[[], float],
        outbox: WriteCoalescer,
    ) -> None:
        super().__init__(outbox)
        self.address = "unknown"
        self.scheme = "http"
        self.keeps_alive = True
        self.idle_since: float | None = None
        """Monotonic seconds since when it waits for another request; None when it does not."""
        self.memo: object = None
        """Whatever the application wants to keep with the connection."""
        self._application = application
        self._places = places
        self._now = now
        self._buffer = b""
        self._body: BodyReader = NO_BODY
        self._handling: Handler | None = None
        self._head: RequestHead | None = None
        self._is_answering = False
        self._is_advancing = False
        self._is_ending = False
        self._is_headless = True

    # -- what asyncio calls --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or be told that there is none."""
        self.transport = cast("asyncio.Transport", transport)
        self._hold_little()
        peer = self.transport.get_extra_info("peername")
        self.address = peer[0] if peer else "local"
        if self.transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        if refusal := self._places.take(self, self._now()):
            self._refuse(refusal)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_advancing:
            self._advance()

    def eof_received(self) -> None:
        """Close: a client that says nothing more is taken for gone, as nginx does."""
        self.send_now()
        self._give_up()
        self._places.close(self, self._now())

    def pause_writing(self) -> None:
        """Tell whoever writes to stop."""
        self.is_paused = True
        if self._handling is not None:
            self._handling.client_paused()

    def resume_writing(self) -> None:
        """Tell whoever writes to go on."""
        self.is_paused = False
        if self._handling is not None:
            self._handling.client_resumed()
        elif not self._is_answering:
            self.resume_body()
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Give the place back, and the request up."""
        self._out = []
        self._places.leave(self)
        self._give_up()

    def _give_up(self) -> None:
        self._is_ending = True
        self._buffer = b""
        handling, self._handling = self._handling, None
        if handling is not None:
            handling.client_gone()

    @property
    def is_waiting(self) -> bool:
        """Tell whether it is between two requests, and nothing of the next one has come."""
        return not (self._buffer or self._is_answering or self._is_ending)

    # -- what the application calls ------------------------------------------------------------------

    def pause_body(self) -> None:
        """Read nothing more for now."""
        self.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if not self._is_ending:
            self.resume_reading()

    def discard_body(self) -> None:
        """Pass over what is there of the body. If that is not all, the answer is the last one here."""
        if self._body.is_complete:
            return
        data, self._buffer = self._buffer, b""
        with suppress(Malformed):
            self._buffer = self._body.feed(data)[1]
        if not self._body.is_complete:
            self.keeps_alive = False

    def finish(self) -> None:
        """End the answer: on to the next request, or to the end."""
        self._is_answering = False
        self._handling = None
        if self._is_ending:
            return
        if not self._body.is_complete:
            self._end_slowly()
        elif not self.keeps_alive:
            self.close()
        else:
            self.idle_since = self._now()
            if not self.is_reading:
                self.resume_reading()
            if self._buffer and not self._is_advancing:
                self._advance()

    def detach(self) -> bytes:
        """Leave the transport to another protocol; return what was read and is not used up.

        The place is kept until `ConnectionLimiter.leave`.
        """
        self._is_ending = True
        self._handling = None
        self.send_now()
        rest, self._buffer = self._buffer, b""
        return rest

    def close(self) -> None:
        """Close once everything is sent."""
        self._is_ending = True
        self.send_now()
        self.transport.close()
        self._places.close(self, self._now())

    def abort(self) -> None:
        """Break off, so that nobody takes what was sent for the whole."""
        self._is_ending = True
        self._out = []
        self.transport.abort()

    def has_delivered(self) -> bool:
        """Return whether the client's machine has acknowledged everything that was sent."""
        return not (self._out or self.transport.get_write_buffer_size() or unacknowledged(self.transport))

    # -- what the clock calls ------------------------------------------------------------------------

    def head_is_late(self) -> None:
        """Say 408 to who has begun a request, nothing to who has not (RFC 9110 §15.5.9)."""
        if self._buffer:
            self._refuse(TooSlow("The request's head did not come in time."))
        else:
            self.abort()  # nothing was sent; over TLS closing would wait for an answer

    # -- reading -------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Use up what has come, as far as it goes."""
        self._is_advancing = True
        try:
            go_on = True
            while self._buffer and go_on:
                if self._is_ending:
                    self._buffer = b""
                elif not self._is_answering and not self.is_paused:
                    go_on = self._read_head()
                elif not self._body.is_complete:
                    go_on = self._read_body()
                else:
                    go_on = False
                    if len(self._buffer) > HEAD_LIMIT:
                        self.pause_body()  # pipelined further than we care to remember
        finally:
            self._is_advancing = False

    def _read_head(self) -> bool:
        data = self._buffer
        if data[0] == CR and data.startswith(b"\r\n"):
            data = self._buffer = data[2:]  # an empty line before a request is passed (RFC 9112 §2.2)
        end = data.find(END)
        if end < 0 or end > HEAD_LIMIT:
            return self._wait_for_head(data)
        end += len(END)
        if end == len(data):
            self._buffer = b""
        else:
            data, self._buffer = data[:end], data[end:]
        self.idle_since = None
        if self._is_headless:
            self._is_headless = False
            self._places.headless.end(self)
        try:
            head = self._head = parse_request(data, self._head)
        except BlogError as error:
            self._refuse(error)
            return False
        block = head.block
        self.keeps_alive = block.keeps_alive and not self._places.is_closing
        self._body = request_body(head) if block.has_body else NO_BODY
        self._is_answering = True
        handling = self._application.begin(self, head)
        if self._is_answering:
            self._handling = handling
        return True

    def _wait_for_head(self, data: bytes) -> bool:
        """Wait for the rest, unless this can become no head."""
        if refusal := refusal_of_beginning(data):
            self._refuse(refusal)
        elif data and not self._is_headless:
            self._is_headless = True
            self.idle_since = None
            self._places.headless.begin(self, self._now())
        return False

    def _read_body(self) -> bool:
        data, self._buffer = self._buffer, b""
        handling = self._handling
        if handling is None:
            return False
        try:
            piece, self._buffer = self._body.feed(data)
        except Malformed as error:
            self.keeps_alive = False
            handling.body_failed(error)
            return False
        if piece:
            handling.body_data(piece)
        if self._body.is_complete and self._handling is handling:
            handling.body_ended()
        return True

    # -- ending --------------------------------------------------------------------------------------

    def _refuse(self, error: BlogError) -> None:
        self.keeps_alive = False
        self._is_answering = True
        self._application.refuse(self, error)
        self._is_answering = False
        self._end_slowly()

    def _end_slowly(self) -> None:
        """Say that no more comes, and read what the client still sends, for a while.

        Closed at once, what it has not read yet would be lost to it (RFC 9112 §9.6). TLS knows no half
        that is closed: there `close` says that no more comes, and reads on until the client has closed.
        """
        if self._is_ending:
            return
        self.resume_body()
        self._is_ending = True
        self._buffer = b""
        self.send_now()
        if self.transport.can_write_eof():
            with suppress(OSError):
                self.transport.write_eof()
        else:
            self.transport.close()
        self._places.linger(self, self._now())

    def __repr__(self) -> str:
        """Show who it is and what it does."""
        doing = "ending" if self._is_ending else "answering" if self._is_answering else "idle"
        return f"<ServerConnection of {self.address}: {doing}, {len(self._buffer)} bytes waiting>"
