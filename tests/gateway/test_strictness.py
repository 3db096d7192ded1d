"""What must not get in, and what must not get out: tables of bytes, over real sockets.

Each row of the first table is refused with its status and the connection is closed; an instance
that writes down every byte it gets sees nothing of it, but sees a legal request sent after it.
"""

import asyncio
import re
from typing import Any

import pytest

from tests.gateway.wire import Reader, Writer

LINE = b"POST /things/EVIL HTTP/1.1\r\n"
GET = b"GET /things/EVIL HTTP/1.1\r\n"
HOST = b"Host: blog\r\n"
END = b"\r\n"
CHUNKED = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    """Write a POST with `fields`."""
    return LINE + HOST + fields + END + body


def get(fields: bytes) -> bytes:
    """Write a GET with `fields`."""
    return GET + HOST + fields + END


def length(value: bytes, body: bytes = b"hello") -> bytes:
    """Write a POST with this Content-Length."""
    return post(b"Content-Length:" + value + END, body)


def coding(value: bytes) -> bytes:
    """Write a POST with this Transfer-Encoding."""
    return post(b"Transfer-Encoding:" + value + END, b"5\r\nhello\r\n0\r\n\r\n")


CONTROLS = [0, 1, 7, 8, 11, 12, 14, 27, 31, 127]
SEPARATORS = b'"(),/:;<=>?@[\\]{} \t'

REFUSED: dict[str, tuple[bytes, int]] = {
    # -- lengths
    "CL and TE": (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "TE and CL": (post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), 400),
    "TE identity and CL": (post(b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"hello"), 400),
    "two CL": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), 400),
    "two equal CL": (post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), 400),
    "two CL, other case": (post(b"content-length: 5\r\nCONTENT-LENGTH: 0\r\n", b"hello"), 400),
    "CL list": (length(b" 5, 5"), 400),
    "CL plus": (length(b" +5"), 400),
    "CL minus": (length(b" -5"), 400),
    "CL hex": (length(b" 0x5"), 400),
    "CL blank inside": (length(b" 5 5"), 400),
    "CL letter": (length(b" 5a"), 400),
    "CL empty": (length(b""), 400),
    "CL blank": (length(b"  "), 400),
    "CL point": (length(b" 5.0"), 400),
    "CL exponent": (length(b" 1e1"), 400),
    "CL underscore": (length(b" 1_0"), 400),
    "CL over 64 bits": (length(b" 18446744073709551617"), 400),
    "CL over 63 bits": (length(b" 9999999999999999999"), 400),
    "CL arabic digit": (length(" ٥".encode()), 400),
    "CL vertical tab": (length(b" \x0b5"), 400),
    "CL quoted": (length(b' "5"'), 400),
    # -- codings
    "TE unknown": (coding(b" gzip"), 400),
    "TE gzip, chunked": (coding(b" gzip, chunked"), 400),
    "TE chunked, gzip": (coding(b" chunked, gzip"), 400),
    "TE chunked twice": (coding(b" chunked, chunked"), 400),
    "TE identity": (coding(b" identity"), 400),
    "TE xchunked": (coding(b" xchunked"), 400),
    "TE chunked with parameter": (coding(b" chunked;q=1"), 400),
    "TE quoted": (coding(b' "chunked"'), 400),
    "TE empty": (coding(b""), 400),
    "TE comma": (coding(b" chunked,"), 400),
    "TE leading comma": (coding(b" ,chunked"), 400),
    "TE vertical tab": (coding(b" \x0bchunked"), 400),
    "TE NUL": (coding(b" chunked\x00"), 400),
    "TE twice": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
    "TE twice, second other": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 400),
    "TE blank before colon": (post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    "TE folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400),
    "TE in HTTP/1.0": (
        b"POST /things/EVIL HTTP/1.0\r\nHost: blog\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "TE in HTTP/1.0 with CL": (
        b"POST /things/EVIL HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    # -- chunks
    "chunk size none": (CHUNKED + b"\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size letter": (CHUNKED + b"g\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size 0x": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size plus": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size minus": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size blank before": (CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size blank behind": (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400),
    "chunk size underscore": (CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size huge": (CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size many zeros": (CHUNKED + b"0" * 300 + b"5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk line LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400),
    "chunk line CR": (CHUNKED + b"5\rhello\r\n0\r\n\r\n", 400),
    "chunk end LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400),
    "chunk end missing": (CHUNKED + b"5\r\nhello0\r\n\r\n", 400),
    "chunk longer": (CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n", 400),
    "chunk shorter": (CHUNKED + b"6\r\nhello\r\n0\r\n\r\n", 400),
    "chunk extension without name": (CHUNKED + b"5;\r\nhello\r\n0\r\n\r\n", 400),
    "chunk extension bare CR": (CHUNKED + b"5;a=\rb\r\nhello\r\n0\r\n\r\n", 400),
    "chunk extension bare LF": (CHUNKED + b"5;a=\nb\r\nhello\r\n0\r\n\r\n", 400),
    "chunk extension NUL": (CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n", 400),
    "chunk extension open quote": (CHUNKED + b'5;a="b\r\nhello\r\n0\r\n\r\n', 400),
    "chunk extension flood": (CHUNKED + b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", 400),
    "trailer folded": (CHUNKED + b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", 400),
    "trailer without colon": (CHUNKED + b"5\r\nhello\r\n0\r\nX\r\n\r\n", 400),
    "trailer blank before colon": (CHUNKED + b"5\r\nhello\r\n0\r\nX : a\r\n\r\n", 400),
    "trailer NUL": (CHUNKED + b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n", 400),
    "trailer LF": (CHUNKED + b"5\r\nhello\r\n0\r\nX: a\n\r\n\r\n", 400),
    "trailers flood": (CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X: aaaaaaaaaaaa\r\n" * 1000 + b"\r\n", 400),
    # -- line ends
    "LF after request line": (b"GET /things/EVIL HTTP/1.1\n" + HOST + END, 400),
    "LF after a field": (GET + b"Host: blog\nX: y\r\n\r\n", 400),
    "LF only": (b"GET /things/EVIL HTTP/1.1\nHost: blog\n\n", 400),
    "LF before empty line": (GET + b"Host: blog\n\r\n\r\n", 400),
    "CR in a field": (get(b"X: a\rb\r\n"), 400),
    "CR CR LF": (get(b"X: a\r\r\n"), 400),
    "CR as a line end": (GET + b"Host: blog\rX: y\r\n\r\n", 400),
    "folded": (get(b"X: a\r\n b\r\n"), 400),
    "folded with tab": (get(b"X: a\r\n\tb\r\n"), 400),
    "folded first": (GET + b" Host: blog\r\n\r\n", 400),
    "folded Host": (GET + b"Host:\r\n blog\r\n\r\n", 400),
    "two empty lines before": (b"\r\n\r\n" + GET + HOST + END, 400),
    # -- names and values
    "blank before colon": (get(b"X : a\r\n"), 400),
    "tab before colon": (get(b"X\t: a\r\n"), 400),
    "no colon": (get(b"X\r\n"), 400),
    "no name": (get(b": a\r\n"), 400),
    "name in UTF-8": (get("Ä: a\r\n".encode()), 400),
    "value in Latin-1": (get(b"X: \xe4\r\n"), 400),
    "value half UTF-8": (get(b"X: \xc3\r\n"), 400),
    **{f"control {one:#x} in a value": (get(b"X: a%cb\r\n" % one), 400) for one in CONTROLS},
    **{f"control {one:#x} in a name": (get(b"X%cY: a\r\n" % one), 400) for one in CONTROLS},
    **{
        f"separator {chr(one)!r} in a name": (get(b"X%cY: a\r\n" % one), 400)
        for one in SEPARATORS
        if one != ord(":")
    },
    # -- hosts
    "no Host": (GET + END, 400),
    "two Hosts": (get(HOST), 400),
    "two other Hosts": (get(b"Host: evil\r\n"), 400),
    "Host with user": (GET + b"Host: user@blog\r\n\r\n", 400),
    "Host with path": (GET + b"Host: blog/x\r\n\r\n", 400),
    "Host with blank": (GET + b"Host: blog evil\r\n\r\n", 400),
    "Host list": (GET + b'Host: "blog"\r\n\r\n', 400),
    "Host with a port that is none": (GET + b"Host: blog:http\r\n\r\n", 400),
    "Host with a long port": (GET + b"Host: blog:808080\r\n\r\n", 400),
    "Host in UTF-8": (GET + "Host: blög\r\n\r\n".encode(), 400),
    "Host with open bracket": (GET + b"Host: [::1\r\n\r\n", 400),
    "Host with backslash": (GET + b"Host: blog\\evil\r\n\r\n", 400),
    # -- request lines
    "two blanks after the method": (b"GET  /things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "two blanks before the version": (b"GET /things/EVIL  HTTP/1.1\r\n" + HOST + END, 400),
    "tab in the line": (b"GET\t/things/EVIL\tHTTP/1.1\r\n" + HOST + END, 400),
    "blank behind the version": (b"GET /things/EVIL HTTP/1.1 \r\n" + HOST + END, 400),
    "blank before the method": (b" GET /things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "blank in the target": (b"GET /things/EV IL HTTP/1.1\r\n" + HOST + END, 400),
    "HTTP/0.9": (b"GET /things/EVIL\r\n\r\n", 400),
    "HTTP/0.9 with Host": (b"GET /things/EVIL\r\n" + HOST + END, 400),
    "HTTP/1.2": (b"GET /things/EVIL HTTP/1.2\r\n" + HOST + END, 505),
    "HTTP/2.0": (b"GET /things/EVIL HTTP/2.0\r\n" + HOST + END, 505),
    "HTTP/3.0": (b"GET /things/EVIL HTTP/3.0\r\n" + HOST + END, 505),
    "HTTP/1.10": (b"GET /things/EVIL HTTP/1.10\r\n" + HOST + END, 400),
    "HTTP/11": (b"GET /things/EVIL HTTP/11\r\n" + HOST + END, 400),
    "http in lower case": (b"GET /things/EVIL http/1.1\r\n" + HOST + END, 400),
    "another protocol": (b"GET /things/EVIL RTSP/1.0\r\n" + HOST + END, 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "unknown method": (b"FETCH /things/EVIL HTTP/1.1\r\n" + HOST + END, 501),
    "method in lower case": (b"get /things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "method with control": (b"G\x00T /things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "CONNECT": (b"CONNECT things:80 HTTP/1.1\r\n" + HOST + END, 400),
    "CONNECT with path": (b"CONNECT /things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "target without slash": (b"GET things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "target star": (b"GET * HTTP/1.1\r\n" + HOST + END, 400),
    "target with fragment": (b"GET /things/EVIL#x HTTP/1.1\r\n" + HOST + END, 400),
    "target in UTF-8": ("GET /things/EVIL/ä HTTP/1.1\r\n".encode() + HOST + END, 400),
    "target with NUL": (b"GET /things/EVIL\x00 HTTP/1.1\r\n" + HOST + END, 400),
    "target with DEL": (b"GET /things/EVIL\x7f HTTP/1.1\r\n" + HOST + END, 400),
    "absolute with user": (b"GET http://u@blog/things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "absolute without host": (b"GET http:///things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "absolute of another scheme": (b"GET ftp://blog/things/EVIL HTTP/1.1\r\n" + HOST + END, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "nothing like it": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    # -- sizes
    "long target": (b"GET /things/EVIL?" + b"x" * 33000 + b" HTTP/1.1\r\n" + HOST + END, 431),
    "long value": (get(b"X: " + b"x" * 33000 + END), 431),
    "long name": (get(b"X" * 33000 + b": x\r\n"), 431),
    "long head without an end": (GET + HOST + b"X: " + b"x" * 70000, 431),
    "many fields": (get(b"X: y\r\n" * 100), 431),
    "long body": (length(b" 1048577", b""), 413),
    "very long body": (length(b" 99999999999", b""), 413),
    # -- what is expected
    "unknown expectation": (
        post(b"Expect: x\r\nConnection: close\r\nContent-Length: 5\r\n", b"hello"),
        417,
    ),
    # -- behind a first request that is fine
    "pipelined: second without Host": (get(b"").replace(b"EVIL", b"fine") + GET + END, 400),
    "pipelined: body as a request": (
        length(b" 0", b"").replace(b"EVIL", b"fine") + b"hello" + GET + HOST + END,
        400,
    ),
    "pipelined: shorter than it says": (
        length(b" 3", b"hello").replace(b"EVIL", b"fine") + GET + HOST + END,
        400,
    ),
    "pipelined: behind the last chunk": (
        CHUNKED.replace(b"EVIL", b"fine") + b"0\r\n\r\nG\x00T /things/EVIL HTTP/1.1\r\n" + HOST + END,
        400,
    ),
}


class Recording:
    """An instance that writes down every byte it gets, and answers each head."""

    def __init__(self) -> None:
        self.seen = b""

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        """Talk."""
        begun = b""
        while data := await reader.read(65536):
            self.seen += data
            begun += data
            while b"\r\n\r\n" in begun:
                head, _, begun = begun.partition(b"\r\n\r\n")
                if re.search(rb"[A-Z]+ /", head):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_ambiguous_does_not_get_in(rig: Any, name: str) -> None:
    """Its status, the end of the connection, and nothing of it at an instance."""
    recording = Recording()
    await rig.raw(recording)
    data, status = REFUSED[name]
    answered = await rig.send(data)
    last = answered[answered.rindex(b"HTTP/1.1 ") :]
    assert int(last.split()[1]) == status, answered
    assert b"Connection: close\r\n" in last
    assert b"application/problem+json" in last
    assert b"EVIL" not in recording.seen
    control = b"GET /things/control HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\r\n"
    assert b" 200 " in await rig.send(control)
    assert b"/things/control" in recording.seen
    assert not rig.handler.limiter.open or await gone(rig)


async def gone(rig: Any) -> bool:
    """Wait until nobody is connected."""
    async with asyncio.timeout(5):
        while rig.handler.limiter.open:
            await asyncio.sleep(0)
    return True


def test_the_table_is_long() -> None:
    """A hundred and twenty ways, at least."""
    assert len(REFUSED) >= 120


LEGAL: dict[str, bytes] = {
    "plain": get(b""),
    "empty line before": b"\r\n" + get(b""),
    "blanks around a value": get(b"X: \t a \t\r\n"),
    "empty value": get(b"X:\r\n"),
    "value in UTF-8": get("X: ä\r\n".encode()),
    "odd name": get(b"!#$%&'*+-.^_`|~09: a\r\n"),
    "HTTP/1.0": b"GET /things/EVIL HTTP/1.0\r\n\r\n",
    "absolute": b"GET http://blog/things/EVIL HTTP/1.1\r\n" + HOST + END,
    "IPv6 host": GET + b"Host: [::1]:8080\r\n\r\n",
    "empty host": GET + b"Host:\r\n\r\n",
    "body": length(b" 5"),
    "body, blanks around": length(b"   5  "),
    "body, leading zeros": length(b" 0005"),
    "chunked": coding(b" chunked"),
    "chunked, other case": coding(b" Chunked"),
    "chunk size in both cases": CHUNKED + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
    "chunk extension": CHUNKED + b'5;a;b=c;d="e\\"f"\r\nhello\r\n0\r\n\r\n',
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "large body": length(b" 1048576", b"x" * 1048576),
    "98 fields": get(b"X: y\r\n" * 98),
}


@pytest.mark.parametrize("name", LEGAL)
async def test_what_is_legal_gets_in(rig: Any, name: str) -> None:
    """Being strict is not being narrow."""
    recording = Recording()
    await rig.raw(recording)
    closing = LEGAL[name].replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nConnection: close\r\n", 1)
    if closing.startswith(b"\r\n"):
        closing = b"\r\n" + closing.removeprefix(b"\r\n")
    answered = await rig.send(closing)
    assert answered.startswith(b"HTTP/1.1 200 "), answered
    assert b"/things/EVIL" in recording.seen


OK = b"HTTP/1.1 200 OK\r\n"
LYING: dict[str, bytes] = {
    "longer than it says": OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nEVIL",
    "second answer unasked": OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nEVIL",
    "shorter than it says": OK + b"Content-Length: 9\r\n\r\nEVIL",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\nEVIL",
    "length list": OK + b"Content-Length: 2, 2\r\n\r\nEVIL",
    "length and coding": OK
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
    "length with sign": OK + b"Content-Length: +4\r\n\r\nEVIL",
    "coding unknown": OK + b"Transfer-Encoding: x\r\n\r\nEVIL",
    "coding gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
    "chunk size none": OK + b"Transfer-Encoding: chunked\r\n\r\nEVIL\r\n0\r\n\r\n",
    "chunk LF": OK + b"Transfer-Encoding: chunked\r\n\r\n4\nEVIL\r\n0\r\n\r\n",
    "chunk longer": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nEVIL\r\n0\r\n\r\n",
    "chunks without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n",
    "LF only": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nEVIL",
    "LF in a field": OK + b"X: a\nContent-Length: 4\r\n\r\nEVIL",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 4\r\n\r\nEVIL",
    "control in a value": OK + b"X: a\x00b\r\nContent-Length: 4\r\n\r\nEVIL",
    "control in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 4\r\n\r\nEVIL",
    "blank before colon": OK + b"Content-Length : 4\r\n\r\nEVIL",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "HTTP/0.9": b"EVIL\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "status 999": b"HTTP/1.1 999 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "switching unasked": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nEVIL",
    "204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nEVIL",
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL",
    "head too large": OK + b"X: " + b"x" * 70000 + b"\r\nContent-Length: 4\r\n\r\nEVIL",
    "nothing": b"",
}


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_lying_instance_harms_only_its_own_answer(rig: Any, name: str, method: str) -> None:
    """The client gets a whole answer, a 502 or a broken connection; the next answer is its own."""
    answers = iter([LYING[name]])

    async def talk(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            lie = next(answers, None)
            writer.write(OK + b"Content-Length: 4\r\n\r\nnext" if lie is None else lie)
            if lie is not None:
                await writer.drain()
                return

    await rig.raw(talk)
    await rig.raw(talk)
    first = f"{method} /things HTTP/1.1\r\nHost: blog\r\n\r\n".encode()
    second = b"GET /things HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\r\n"
    answered = await rig.send(first + second)
    if b"EVIL" in answered:
        # half an answer: the connection breaks off behind it, nothing follows
        assert answered.count(b"HTTP/1.1 ") == 1
        assert not answered.endswith(b"0\r\n\r\n")
        answered = await rig.send(second)
    assert answered.endswith(b"next"), answered
    assert answered.count(b"EVIL") == 0
