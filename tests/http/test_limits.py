"""The limits are those of the contract."""

import asyncio

from aiohttp import web

from blog.http.limits import FIELD_LIMIT, HEAD_LIMIT, server_options


async def test_a_door_takes_what_the_gateway_lets_through() -> None:
    """A line of the full head limit, and as many fields, are served."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{len(request.path)} {len(request.headers)}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, **server_options())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    reader, writer = await asyncio.open_connection(host, port)
    fields = "".join(f"X-{n}: v\r\n" for n in range(FIELD_LIMIT))
    path = "/" + "x" * HEAD_LIMIT
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n".encode())
    async with asyncio.timeout(5):
        answered = await reader.read()
    assert answered.endswith(f"{len(path)} {FIELD_LIMIT + 2}".encode())
    writer.close()
    await writer.wait_closed()
    await runner.cleanup()
