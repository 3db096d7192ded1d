"""The pages in a real Chromium: with and without JavaScript, by keyboard, light and dark.

BLOG_SCREENSHOTS names a folder to put pictures of every state in, for people to look at.
"""

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from blog.testing.harness import RunningBlog
from tests.e2e.readers import Open, Reader, until_live

FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.id"
NASTY = """<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">
[click](javascript:window.hacked=3) <svg onload="window.hacked=4"> **bold**"""


async def test_a_comment_is_approved_without_a_reload(reader: Open) -> None:
    """Its author sees it pending, then approved; another reader sees it appear; nobody reloads."""
    async with reader() as author, reader() as other:
        await author.write("Hello", "A *first* post.")
        await other.page.goto(author.page.url)
        await until_live(other)
        await other.page.evaluate("window.loadedOnce = true")
        await author.comment("I **like** it")
        comments = author.page.locator("ol.comments > li")
        await expect(comments).to_have_count(1)
        await expect(comments).to_have_class("approved")
        await expect(comments.locator("strong")).to_have_text("like")
        theirs = other.page.locator("ol.comments > li")
        await expect(theirs).to_have_class("approved")
        assert await other.page.evaluate("window.loadedOnce")
        await author.comment("an orange")
        await expect(comments.nth(1)).to_have_class("rejected")
        await expect(comments.nth(1)).to_contain_text("an orange")
        await expect(theirs.nth(1)).to_have_class("rejected")
        await expect(theirs.nth(1)).not_to_contain_text("an orange")
        await author.picture("post-light")
        assert author.complaints == other.complaints == []


async def test_pending_is_shown_until_moderation_is_back(blog: RunningBlog, reader: Open) -> None:
    """The comment waits in the log; the open page changes when it is settled."""
    await blog.scale(moderation=0)
    async with reader(color_scheme="dark") as author:
        await author.write("Hello")
        await author.comment("later")
        comments = author.page.locator("ol.comments > li")
        await expect(comments).to_have_class("pending")
        await expect(comments).to_contain_text("later")
        await until_live(author)
        await author.picture("pending-dark")
        await blog.scale(moderation=1)
        await expect(comments).to_have_class("approved")


async def test_html_of_people_is_never_run(reader: Open) -> None:
    """Neither in a post nor in a comment, nor in a part that came live; the policy is never needed."""
    async with reader() as author:
        await author.write("<script>window.hacked=0</script>", NASTY)
        await author.comment(NASTY)
        await expect(author.page.locator("ol.comments > li")).to_have_class("approved")
        assert await author.page.evaluate("window.hacked === undefined")
        assert await author.page.locator("main script, main img, main svg").count() == 0
        await expect(author.page.locator("article strong")).to_have_text("bold")
        await author.page.goto(author.url)
        assert await author.page.evaluate("window.hacked === undefined")
        assert author.complaints == []


async def test_everything_works_without_javascript(reader: Open) -> None:
    """Write, read, comment, see the state; a reload shows the verdict."""
    async with reader(java_script_enabled=False) as author:
        await author.page.goto(author.url)
        await expect(author.page.get_by_text("Nobody has written anything yet.")).to_be_visible()
        await author.write("Plain", "text")
        await author.comment("hi")
        item = author.page.locator("ol.comments > li")
        await expect(item).to_have_count(1)

        async def settled() -> bool:
            await author.page.reload()
            return bool(await item.get_attribute("class") == "approved")

        await eventually(settled)
        await author.page.get_by_role("link", name="Posts").click()
        await expect(author.page.get_by_role("link", name="Plain")).to_be_visible()


async def test_a_keyboard_is_enough(reader: Open) -> None:
    """Skip link, every control in reading order, a visible focus, sending by Enter."""
    async with reader() as author:
        page = author.page
        await page.goto(f"{author.url}/write")
        seen = []
        for _ in range(8):
            await page.keyboard.press("Tab")
            seen.append(
                await page.evaluate(
                    "(document.activeElement.textContent.trim() || document.activeElement.id)"
                )
            )
        assert seen[:7] == ["Skip to the content", "blog", "Posts", "Write", "title", "body", "author"]
        assert seen[7] == "Publish"
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await page.get_by_label("Title").focus()
        await page.keyboard.type("By keyboard")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("By keyboard")
        await page.goto(author.url)
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"


async def test_what_is_wrong_is_tied_to_its_field(reader: Open) -> None:
    """A screen reader hears it with the field; what was typed is still there."""
    async with reader() as author:
        await author.page.goto(f"{author.url}/write")
        await author.page.get_by_label("Title").fill(" ")
        await author.page.get_by_label("Text").fill("kept")
        await author.page.get_by_role("button", name="Publish").click()
        title = author.page.get_by_label("Title")
        await expect(title).to_have_attribute("aria-invalid", "true")
        await expect(title).to_have_accessible_description(re.compile("is empty"))
        await expect(title).to_be_focused()
        await expect(author.page.get_by_label("Text")).to_have_value("kept")
        await author.picture("error-field")


async def test_a_form_survives_what_is_not_running(blog: RunningBlog, reader: Open) -> None:
    """The text is still there, and sending it again works once the service is back."""
    async with reader() as author:
        await author.page.goto(f"{author.url}/write")
        await blog.scale(posts=0)
        await author.page.get_by_label("Title").fill("Patience")
        await author.page.get_by_role("button", name="Publish").click()
        await expect(author.page.get_by_role("alert")).to_contain_text("It was not sent.")
        await author.picture("error-service")
        await blog.scale(posts=1)
        await author.page.get_by_role("button", name="Publish").click()
        await expect(author.page.get_by_role("heading", level=1)).to_have_text("Patience")


async def test_every_state_fits_a_narrow_screen(reader: Open) -> None:
    """Empty, missing, long words: nothing is wider than the screen."""
    narrow = {"width": 320, "height": 640}
    async with reader(viewport=narrow, color_scheme="dark") as author:
        await author.page.goto(author.url)
        await author.picture("empty-narrow-dark")
        await author.page.goto(f"{author.url}/read/nothing")
        await expect(author.page.get_by_role("alert")).to_be_visible()
        await author.picture("missing-narrow-dark")
        await author.write("Donaudampfschifffahrt" * 4, "`" + "x" * 300 + "`\n\n    " + "code " * 60)
        await author.picture("post-narrow-dark")
        await author.page.goto(author.url)
        await author.picture("list-narrow-dark")
        width = await author.page.evaluate("document.documentElement.scrollWidth")
        assert width <= narrow["width"]


async def found(reader: Reader, words: str) -> list[str]:
    """Search by keyboard; return the titles of what is found."""
    box = reader.page.get_by_role("searchbox", name="Search posts")
    await box.fill(words)
    await box.press("Enter")
    await expect(reader.page.get_by_role("heading", level=1)).to_have_text("Found")
    return await reader.page.locator("ol.posts h2").all_text_contents()


@pytest.mark.parametrize("javascript", [True, False])
async def test_posts_are_found(reader: Open, *, javascript: bool) -> None:
    """By words of title and text, the newest first; nothing is said where nothing is found."""
    async with reader(java_script_enabled=javascript) as author:
        await author.write("Apple pie", "with cinnamon")
        await author.write("Cinnamon rolls", "and sugar")
        await author.page.goto(author.url)
        assert await found(author, "cinnamon") == ["Cinnamon rolls", "Apple pie"]
        await author.picture("search-found")
        assert await found(author, "pie cinna") == ["Apple pie"]
        assert await found(author, "salt OR sugar") == []
        await expect(author.page.get_by_text("No post has all of these words")).to_be_visible()
        await expect(author.page.get_by_role("searchbox")).to_have_value("salt OR sugar")
        await author.picture("search-nothing")
        await author.page.get_by_role("link", name="All posts").first.click()
        await expect(author.page.locator("ol.posts > li")).to_have_count(2)
        assert author.complaints == []


@pytest.mark.parametrize("javascript", [True, False])
async def test_what_one_wrote_can_be_changed_and_taken_back(reader: Open, *, javascript: bool) -> None:
    """A post and a comment: other words, then a question, then gone; another reader sees no way to it."""
    async with reader(java_script_enabled=javascript) as author, reader() as other:
        page = author.page
        await author.write("First words", "text")
        address = page.url
        await author.comment("first comment")
        comments = page.locator("ol.comments > li")
        await comments.get_by_role("link", name="Edit").click()
        await expect(page.get_by_role("textbox", name="Comment")).to_have_value("first comment")
        await page.get_by_role("textbox", name="Comment").fill("second comment")
        await author.picture("edit-comment")
        await page.get_by_role("button", name="Save").click()
        await expect(comments).to_contain_text("second comment")
        await expect(comments).to_contain_text("edited")
        await page.locator("article.post").get_by_role("link", name="Edit").click()
        await page.get_by_label("Title").fill("Other words")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Other words")
        await other.page.goto(address)
        await expect(other.page.get_by_role("heading", level=1)).to_have_text("Other words")
        await expect(other.page.get_by_role("link", name="Edit")).to_have_count(0)
        await until_live(other)
        await comments.get_by_role("link", name="Delete").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Delete this comment?")
        await expect(page.locator("article.now")).to_contain_text("second comment")
        await author.picture("delete-comment")
        await page.get_by_role("link", name="Keep it").click()
        await comments.get_by_role("link", name="Delete").click()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("No comments yet.")).to_be_visible()
        await expect(other.page.get_by_text("No comments yet.")).to_be_visible()
        await page.locator("article.post").get_by_role("link", name="Delete").click()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("Nobody has written anything yet.")).to_be_visible()
        await expect(other.page.get_by_role("status")).to_contain_text("This post was deleted.")
        assert author.complaints == other.complaints == []
        gone = await page.goto(address)
        assert gone
        assert gone.status == 404


async def test_what_changed_meanwhile_is_not_overwritten_unseen(reader: Open) -> None:
    """Two windows of one author: the second sees what is there beside what was typed, and decides."""
    async with reader() as author:
        await author.write("One", "first")
        page, address = author.page, author.page.url
        await page.locator("article.post").get_by_role("link", name="Edit").click()
        second = await page.context.new_page()
        await second.goto(page.url)
        for window, text in ((page, "of the first window"), (second, "of the second window")):
            await window.get_by_label("Text").fill(text)
            await window.get_by_role("button", name="Save").click()
        await expect(page.locator("article.post")).to_contain_text("of the first window")
        await expect(second.get_by_role("alert")).to_contain_text("It changed meanwhile.")
        await expect(second.locator("article.now")).to_contain_text("of the first window")
        await expect(second.get_by_label("Text")).to_have_value("of the second window")
        await Reader(second, author.url).picture("conflict")
        await second.get_by_role("button", name="Save").click()
        await expect(second.locator("article.post")).to_contain_text("of the second window")
        # the first window hears of it without a reload
        await expect(page.locator("article.post")).to_contain_text("of the second window")
        await page.goto(f"{address.partition('?')[0]}/delete")
        await second.locator("article.post").get_by_role("link", name="Edit").click()
        await second.get_by_label("Text").fill("of the third time")
        await second.get_by_role("button", name="Save").click()
        await expect(second.locator("article.post")).to_contain_text("of the third time")
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("alert")).to_contain_text("It was not deleted.")
        await expect(page.locator("article.now")).to_contain_text("of the third time")


async def test_what_was_missed_while_cut_off_is_shown(blog: RunningBlog, reader: Open) -> None:
    """The instance that the page listened to is killed; what is written meanwhile appears by itself."""
    async with reader() as author, reader() as other:
        await author.write("Hello")
        await other.page.goto(author.page.url)
        await until_live(other)
        blog.kill(blog.instances("query")[0].id)
        await author.comment("written meanwhile")
        theirs = other.page.locator("ol.comments > li")
        await expect(theirs).to_have_class("approved", timeout=15_000)
        await expect(theirs).to_contain_text("written meanwhile")


async def test_a_reset_makes_the_page_take_a_fresh_copy(reader: Open) -> None:
    """Too much was missed to be told of: the page looks again, as of the place that it is told."""
    async with reader() as other:
        await other.write("Hello")
        await other.page.add_init_script("delete window.SharedWorker")  # its requests cannot be routed
        reset = "id: 0-0:71\nevent: reset\ndata: {}\n\n"
        await other.page.route(
            re.compile(r"/live\?"),
            lambda route: route.fulfill(content_type="text/event-stream", body=reset),
        )
        async with other.page.expect_request(lambda request: request.url.endswith("after=71")):
            await other.page.goto(other.page.url.partition("?")[0])


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Try until it is so; the test's own timeout ends it."""
    while not await condition():
        pass
