"""`blog posts delete ID...`: what it asks, whom it sends it to, and what it says."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli.locate import LocatedInstance
from blog.cli.operator import OperatorClient, OperatorRefusal, _operator, _send, described
from blog.core.errors import SettingsError
from blog.core.ids import new_id
from blog.core.operator import PATH, OperatorRequest
from blog.lifecycle.run_file import run_file
from tests.cli.terminal import terminal_of, wait_for

ID = new_id()
Answer = Callable[[web.Request], Awaitable[web.Response]]


def blog(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `blog` in `folder`, with nobody at a terminal."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    return subprocess.run(
        [sys.executable, "-m", "blog", *words],
        cwd=folder,
        env=clean | {"BLOG_REGISTRY": "http://127.0.0.1:1"} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["posts", "delete", ID], "--yes"),
        (["posts", "delete", ID, "--yes"], "BLOG_DATA_DIR"),
        (["comments", "reject", ID, "-y", "--reason", "x"], "No instance of comments runs"),
    ],
)
def test_what_cannot_be_asked_or_sent_is_one_line_and_code_2(
    tmp_path: Path, words: list[str], says: str
) -> None:
    """Nobody at a terminal, and no blog that runs."""
    done = blog(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.strip().splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["posts", "burn", ID], "No such command"),
        (["query", "delete", ID], "No such command"),
        (["posts", "delete"], "Missing argument"),
        (["posts", "delete", ID, "--yes", "--reason", "x" * 501], "at most 500"),
        (["posts", "delete", ID, "--yes", "--reason", "a\x1b[2J"], "U+001B"),
        (["posts", "delete", ID, "--yess"], "No such option"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_done(
    tmp_path: Path, words: list[str], says: str
) -> None:
    """With the usage."""
    done = blog(tmp_path, *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_help_lists_what_a_service_is_run_with_and_what_operators_do(tmp_path: Path) -> None:
    """Both of them; a service without operator commands has only the one."""
    output = blog(tmp_path, "comments", "--help").stdout
    for word in ("Run one instance of comments", "delete", "reject", "approve"):
        assert word in output
    assert "With a command, delete or moderate its content." in output
    assert (
        "Check readiness until an instance was ready once"
        in blog(tmp_path, "healthcheck", "--help").stdout
    )
    output = blog(tmp_path, "query", "--help").stdout
    assert "Run one instance of query." in output
    assert "Commands:" not in output
    assert "ith a command" not in output
    assert "--reason" in blog(tmp_path, "comments", "reject", "--help").stdout


class Fake(NamedTuple):
    """An instance that answers as a test says, and what it was sent."""

    located: LocatedInstance
    orders: list[tuple[str | None, dict[str, Any]]]


@pytest.fixture
async def instance() -> AsyncIterator[Callable[..., Awaitable[Fake]]]:
    """Start instances; each gives its answers in turn, None for breaking off, the last one for ever."""
    async with AsyncExitStack() as stack:

        async def start(*answers: tuple[int, Any] | None) -> Fake:
            orders: list[tuple[str | None, dict[str, Any]]] = []

            async def take(request: web.Request) -> web.Response:
                orders.append((request.headers.get("Idempotency-Key"), await request.json()))
                response = answers[min(len(orders), len(answers)) - 1]
                if response is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                return web.json_response(response[1], status=response[0])

            app = web.Application()
            app.router.add_post(f"{PATH}/burn", take)
            server = await stack.enter_async_context(TestServer(app))
            return Fake(LocatedInstance("i", str(server.make_url("")).rstrip("/")), orders)

        yield start


async def sent(*fakes: Fake) -> Any:
    """Send one order to the instances; return the report."""
    async with aiohttp.ClientSession() as http:
        operator = OperatorClient(http, "burn", [fake.located for fake in fakes])
        return (await operator.send(OperatorRequest(id="b1", reason="old"))).report


DONE = (200, {"changed": True, "sequence": 7})
BUSY = (503, {"detail": "This instance is still starting."})


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    instance: Callable[..., Awaitable[Fake]],
) -> None:
    """So that it is done once: of the same instance where there is no other."""
    alone = await instance(None, DONE)
    assert (await sent(alone)).sequence == 7
    assert len(alone.orders) == 2
    assert len({key for key, _ in alone.orders}) == 1
    assert alone.orders[0][1]["reason"] == "old"
    first, second = await instance(None), await instance(DONE)
    assert (await sent(first, second)).sequence == 7
    assert first.orders == second.orders


@pytest.mark.parametrize("elsewhere", [BUSY, (421, {"detail": "This is another one."})])
async def test_one_that_cannot_now_is_passed_over(
    instance: Callable[..., Awaitable[Fake]], elsewhere: tuple[int, Any]
) -> None:
    """Another one may; if none can, what the last one reported is shown."""
    assert (await sent(await instance(elsewhere), await instance(DONE))).changed
    with pytest.raises(OperatorRefusal, match=elsewhere[1]["detail"]):
        await sent(await instance(elsewhere))


NOT_OURS = [(200, "a"), (200, None), (200, {}), (200, [1]), (200, {"changed": "perhaps"})]
UNCHANGED = (200, {"changed": False})


async def test_a_try_without_an_answer_may_have_done_it(
    instance: Callable[..., Awaitable[Fake]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is so already then was this order's; not after one that was never sent, or a preview."""
    nowhere, second = LocatedInstance("n", "http://127.0.0.1:1"), (await instance(UNCHANGED)).located
    for first, order, says in (
        (
            (await instance(None, UNCHANGED)).located,
            OperatorRequest(id="b"),
            "done (an earlier attempt had no response)",
        ),
        (
            (await instance(None, UNCHANGED)).located,
            OperatorRequest(id="b", dry_run=True),
            "already done",
        ),
        (nowhere, OperatorRequest(id="b"), "already done"),
        ((await instance(UNCHANGED)).located, OperatorRequest(id="b"), "already done"),
    ):
        async with aiohttp.ClientSession() as http:
            assert await _send(OperatorClient(http, "burn", [first, second]), order)
        assert capsys.readouterr().out == f"b: burn: {says}\n"


@pytest.mark.parametrize("strange", NOT_OURS)
async def test_an_answer_that_is_not_ours_is_one_line(
    instance: Callable[..., Awaitable[Fake]], capsys: pytest.CaptureFixture[str], strange: Any
) -> None:
    """And the next order goes on; another instance may respond to this one."""
    assert (await sent(await instance(strange), await instance(DONE))).sequence == 7
    one = await instance(strange, strange, DONE)
    async with aiohttp.ClientSession() as http:
        operator = OperatorClient(http, "burn", [one.located])
        reports = [await _send(operator, OperatorRequest(id=id_)) for id_ in ("a", "b")]
    assert [report is None for report in reports] == [True, False]
    output = capsys.readouterr()
    assert output.out == "b: burn: done, event 7\n"
    assert output.err.startswith("a: its response is not a report")
    assert len(output.err.splitlines()) == 1


async def test_what_is_refused_is_not_sent_to_another(instance: Callable[..., Awaitable[Fake]]) -> None:
    """Their response would be the same."""
    refusing, other = await instance((404, {"detail": "There is no b1."})), await instance(DONE)
    with pytest.raises(OperatorRefusal, match=r"There is no b1\."):
        await sent(refusing, other)
    assert other.orders == []


async def test_an_instance_of_before_operators_is_told_apart(tmp_path: Path) -> None:
    """It has no such path: what helps is a rollout. One that has not this command is no other case."""
    for response, says in (
        (web.Response(status=404), "run `blog rollout posts`"),
        (web.json_response({"water": "Water."}), "run `blog rollout posts`"),
        (web.json_response(["delete"]), "is not a list of commands"),
        (web.json_response(3), "is not a list of commands"),
        (web.Response(text="<html>"), "is not a list of commands"),
        (web.Response(text="[" * 100_000), "is not a list of commands"),
    ):

        async def respond(_: web.Request, response: web.Response = response) -> web.Response:
            return response

        app = web.Application()
        app.router.add_get(PATH, respond)
        async with TestServer(app) as server:
            name, patch = f"posts-{new_id()}", pytest.MonkeyPatch.context()
            with run_file(tmp_path, name, f"127.0.0.1:{server.port}"), patch as environ:
                environ.setenv("BLOG_DATA_DIR", str(tmp_path))
                environ.setenv("BLOG_REGISTRY", "http://127.0.0.1:1")
                with pytest.raises(SettingsError, match=says):
                    async with _operator("posts", "delete"):
                        pass


def test_a_preview_shows_texts_and_nothing_that_a_terminal_obeys() -> None:
    """What strangers wrote stays text, in one line, and not too much of it."""
    before = {
        "id": ID,
        "title": "Buy\x1b[2J\x9b now\u202e",
        "body": "a\nb " + "x" * 99,
        "author": "",
        "created_at": "2026",
        "sequence": 3,
    }
    assert list(described(before)) == ["title: Buy [2J now", "body: a b " + "x" * 55 + "…"]
    assert list(described(None)) == []


@pytest.fixture
def served(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Run an instance of posts in a thread, found by its run file; give the orders that it was sent."""
    orders: list[dict[str, Any]] = []

    async def offers(_: web.Request) -> web.Response:
        return web.json_response({"delete": "Delete."})

    async def take(request: web.Request) -> web.Response:
        orders.append(await request.json())
        return web.json_response(
            {"changed": True, "sequence": 7, "before": {"title": "Hello"}, "seen": "s"}
        )

    async def serve() -> None:
        app = web.Application()
        app.router.add_get(PATH, offers)
        app.router.add_post(f"{PATH}/delete", take)
        async with TestServer(app) as server:
            with run_file(tmp_path / "data", f"posts-{new_id()}", f"127.0.0.1:{server.port}"):
                is_up.set()
                while not is_over.is_set():
                    await asyncio.sleep(0.01)

    is_up, is_over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert is_up.wait(60)
    yield orders
    is_over.set()
    thread.join()


@pytest.mark.parametrize(
    ("keys", "code", "sent_orders"),
    [(b"\x03", 130, 1), (b"\x04", 130, 1), (b"n\n", 1, 1), (b"y\n", 0, 2)],
)
def test_a_question_is_ended_by_the_first_ctrl_c(
    tmp_path: Path, served: list[dict[str, Any]], keys: bytes, code: int, sent_orders: int
) -> None:
    """Nothing is done then; a no does nothing either."""
    with terminal_of(tmp_path, "posts", "delete", ID) as (process, keyboard):
        output = b""
        while b"[y/N]: " not in output:
            output += keyboard.read(1024)
        stat = Path(f"/proc/{process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")  # it reads by now
        keyboard.write(keys)
        with suppress(OSError):  # how Linux says that the other end is closed
            while part := keyboard.read(1024):
                output += part
        assert process.wait() == code, output
    assert b"title: Hello" in output
    assert [order["dry_run"] for order in served] == [True, False][:sent_orders]
