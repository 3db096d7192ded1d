"""Pages through the gateway of a running blog: forms, cookies, headers, what other sites may not do."""

import asyncio
import re
import threading
from html import unescape
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from blog.core.errors import Forbidden
from blog.runtime.pages import require_same_origin
from blog.testing.harness import RunningBlog

Client = TestClient[Any, Any]
HOST = "blog.example:8080"


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"}, False),
        ({"Origin": f"http://{HOST}"}, True),
        ({"Origin": f"https://{HOST.upper()}"}, True),
        ({"Origin": "http://blog.example"}, False),
        ({"Origin": f"http://{HOST}.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://front.example", "X-Forwarded-Host": "front.example"}, True),
        ({"Origin": f"http://{HOST}", "X-Forwarded-Host": "front.example"}, False),
    ],
)
def test_only_our_own_forms_are_taken(headers: dict[str, str], *, is_ours: bool) -> None:
    """Fetch metadata decide, else the origin; who sends neither is no browser."""
    if is_ours:
        require_same_origin(headers, HOST)
    else:
        with pytest.raises(Forbidden):
            require_same_origin(headers, HOST)


async def key_of(client: Client, path: str) -> str:
    """Open a page with a form, and take its key."""
    found = re.search(r'name="key" value="([^"]+)"', await (await client.get(path)).text())
    assert found
    return found[1]


async def test_a_post_and_a_comment_without_javascript(gateway_client: Client) -> None:
    """Two forms; each leads to the page that shows what was written."""
    key = await key_of(gateway_client, "/write")
    form = {"key": key, "title": "<b>Hello</b>", "body": "one\r\n<script>x</script>", "author": "Me"}
    response = await gateway_client.post("/write", data=form, allow_redirects=False)
    assert response.status == 303
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = await gateway_client.get(response.headers["Location"])
    text = await page.text()
    assert page.status == 200
    assert "<h1>&lt;b&gt;Hello&lt;/b&gt;</h1>" in text
    assert "<script>x" not in text
    path = page.url.path
    comment = {"key": await key_of(gateway_client, path), "content": "an orange cat"}
    response = await gateway_client.post(path, data=comment, allow_redirects=False)
    assert response.status == 303
    assert "an orange cat" in await (await gateway_client.get(response.headers["Location"])).text()


async def test_the_same_form_twice_is_one_post(gateway_client: Client) -> None:
    """A double click, or a reload of what was sent."""
    form = {"key": await key_of(gateway_client, "/write"), "title": "Once"}
    answers = [await gateway_client.post("/write", data=form, allow_redirects=False) for _ in range(2)]
    assert len({response.headers["Location"] for response in answers}) == 1
    other = await gateway_client.post("/write", data=form | {"title": "Other"})
    assert other.status == 422
    assert "still here" in await other.text()


async def test_a_long_thread_can_be_read_to_its_end(gateway_client: Client) -> None:
    """The hundred-and-first comment is on the next page, and so is what is written there."""
    post = (await (await gateway_client.post("/posts", json={"title": "Long"})).json())["id"]
    for number in range(101):
        response = await gateway_client.post(f"/posts/{post}/comments", json={"content": f"c{number}"})
        assert response.status == 201
    page = await gateway_client.get(f"/read/{post}?after={response.headers['Blog-Sequence']}")
    link = re.search(r'href="([^"#]+after_comment=[^"#]+)', await page.text())
    assert link
    next_page = unescape(link[1])
    second = await (await gateway_client.get(next_page)).text()
    assert second.count('<li id="') == 1
    form = {"key": await key_of(gateway_client, next_page), "content": "the last one"}
    assert "the last one" in await (await gateway_client.post(next_page, data=form)).text()


async def test_what_is_wrong_is_said_in_the_page(gateway_client: Client) -> None:
    """Errors are pages with their status; the API keeps its problems."""
    key = await key_of(gateway_client, "/write")
    wrong = await gateway_client.post("/write", data={"key": key, "title": " ", "body": "kept"})
    assert wrong.status == 422
    assert "kept" in await wrong.text()
    for path, status in {
        "/read/nothing": 404,
        "/assets/none.css": 404,
        "/assets/service.py": 404,
        "/?before=x": 422,
    }.items():
        response = await gateway_client.get(path)
        assert (response.status, response.content_type) == (status, "text/html"), path
    bad = await gateway_client.post("/write", data=b"title=%FF", headers={"Content-Type": FORM})
    assert bad.status == 400
    assert (await gateway_client.post("/write", json={"title": "x"})).status == 415
    many = "&".join(f"a{n}=1" for n in range(60))
    assert (await gateway_client.post("/write", data=many, headers={"Content-Type": FORM})).status == 400


async def test_another_site_cannot_post(gateway_client: Client) -> None:
    """Neither where browsers say so nor where only the origin tells."""
    for header in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        response = await gateway_client.post("/write", data={"title": "x"}, headers=header)
        assert response.status == 403
    assert await (await gateway_client.get("/posts")).json() == {}


async def test_pages_and_files_have_a_strict_policy(gateway_client: Client) -> None:
    """Nothing inline, nothing from elsewhere; pages are for their reader only, files revalidate."""
    page = await gateway_client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert "<style" not in (text := await page.text())
    assert " style=" not in text
    style = await gateway_client.get("/assets/style.css")
    assert (style.status, style.content_type) == (200, "text/css")
    known = {"If-None-Match": style.headers["ETag"]}
    assert (await gateway_client.get("/assets/style.css", headers=known)).status == 304
    assert (await gateway_client.head("/")).status == 200


async def test_a_page_says_what_is_not_running(blog: RunningBlog, gateway_client: Client) -> None:
    """The list cannot be shown without query; what was written in a form is not lost."""
    key = await key_of(gateway_client, "/write")
    await blog.scale(query=0, posts=0)
    response = await gateway_client.get("/")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert "query" in await response.text()
    sent = await gateway_client.post("/write", data={"key": key, "title": "kept", "body": "kept too"})
    assert sent.status == 503
    assert "kept too" in await sent.text()


FORM = "application/x-www-form-urlencoded"


async def test_authors_find_the_way_to_change_what_they_wrote(gateway_client: Client) -> None:
    """Links on what is theirs, a form with what is there, a question; others get none of it."""
    key = await key_of(gateway_client, "/write")
    form = {"key": key, "title": "Mine <b>", "body": "some *text*"}
    page = await gateway_client.post("/write", data=form)
    post = str(page.url.path)
    assert f'href="{post}/edit"' in await page.text()
    said = {"key": await key_of(gateway_client, post), "content": "said"}
    text = await (await gateway_client.post(post, data=said)).text()
    links = re.findall(rf'href="({post}/comments/[^"]+)"', text)
    assert [link.rpartition("/")[2] for link in links] == ["edit", "delete"]
    shown = {}
    for path in (f"{post}/edit", f"{post}/delete", *links):
        response = await gateway_client.get(path)
        assert response.status == 200, path
        shown[path] = await response.text()
        assert 'name="sequence" value="' in shown[path]
    assert 'value="Mine &lt;b&gt;"' in shown[f"{post}/edit"]
    assert "some *text*</textarea>" in shown[f"{post}/edit"]
    assert "said</textarea>" in shown[links[0]]
    assert "cannot be brought back" in shown[f"{post}/delete"]
    gateway_client.session.cookie_jar.clear()
    assert "/edit" not in await (await gateway_client.get(post)).text()
    for path in shown:
        assert (await gateway_client.get(path)).status == 403


async def test_posts_can_be_searched_for(gateway_client: Client) -> None:
    """What was typed stays in the box, as text; the pages of what is found look for the same."""
    for number in range(21):
        response = await gateway_client.post("/posts", json={"title": f"Tea {number}"})
    await gateway_client.post("/posts", json={"title": "Coffee"})
    after = response.headers["Blog-Sequence"]
    first = await (await gateway_client.get(f"/?search=te&after={after}")).text()
    assert first.count("<article") == 20
    assert "Coffee" not in first
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older
    second = await (await gateway_client.get(unescape(older[1]))).text()
    assert second.count("<article") == 1
    assert 'href="/?search=te"' in second
    nothing = await (await gateway_client.get("/", params={"search": '"><script>'})).text()
    assert "No post has all of these words" in nothing
    assert "<script>" not in nothing
    assert (await gateway_client.get("/", params={"search": "x" * 201})).status == 422
    assert '<link rel="alternate" href="/feed.atom" type="application/atom+xml"' in nothing
    feed = await gateway_client.get("/feed.atom")
    assert feed.content_type == "application/atom+xml"
    assert str(gateway_client.make_url("/read/")) in await feed.text()


async def test_files_wait_for_no_thread(gateway_client: Client) -> None:
    """Whatever the threads of the process are held up by, a page looks as it should."""
    gate = threading.Event()
    held = [asyncio.get_running_loop().run_in_executor(None, gate.wait) for _ in range(64)]
    try:
        async with asyncio.timeout(30):
            style = await gateway_client.get("/assets/style.css")
            assert "pre.plain" in await style.text()
    finally:
        gate.set()
        await asyncio.gather(*held)


async def test_a_text_that_costs_too_much_is_shown_as_plain_text(gateway_client: Client) -> None:
    """A post and a comment, on their page and where their author deletes them; files meanwhile."""
    evil = "> " * 99 + "a\n" * 2_000
    key = await key_of(gateway_client, "/write")
    page = await gateway_client.post("/write", data={"key": key, "title": "Evil", "body": evil})
    path = page.url.path
    said = {"key": await key_of(gateway_client, path), "content": evil[:4_000] + "<b>"}
    pages = [
        gateway_client.post(path, data=said),
        *(gateway_client.get(f"{path}/delete") for _ in range(5)),
        *(gateway_client.get("/assets/style.css") for _ in range(5)),
    ]
    commented, *others = await asyncio.gather(*pages)
    assert [response.status for response in (page, commented, *others)] == [200] * 12
    for response in (page, commented, *others[:5]):
        assert '<pre class="plain">\n&gt; &gt; ' in await response.text()
    assert "a\n&lt;b&gt;</pre>" in await commented.text()
