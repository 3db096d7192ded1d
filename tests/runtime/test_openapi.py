"""OpenAPI: the routes of a service with what they take and answer."""

from typing import Any

import pytest

from blog.runtime import catalog
from blog.runtime.openapi import describe

POST = "/posts/{post_id}"
COMMENT = "/posts/{post_id}/comments/{comment_id}"


def operation(service: str, method: str, path: str) -> Any:
    """Return what is said of an operation."""
    return describe(catalog.load(service))["paths"][path][method]


@pytest.mark.parametrize(
    ("service", "method", "path", "status", "body", "model"),
    [
        ("posts", "post", "/posts", "201", "PostDraft", "Post"),
        ("posts", "put", POST, "200", "PostEdit", "Post"),
        ("posts", "delete", POST, "204", None, None),
        ("comments", "post", "/posts/{post_id}/comments", "201", "CommentDraft", "Comment"),
        ("comments", "put", COMMENT, "200", "CommentEdit", "Comment"),
        ("comments", "delete", COMMENT, "204", None, None),
    ],
)
def test_commands_describe_request_and_response(  # noqa: PLR0913, PLR0917 - columns of a table
    service: str, method: str, path: str, status: str, body: str | None, model: str | None
) -> None:
    """One status for success, with the sequence in a header; no content where there is none."""
    said = operation(service, method, path)
    assert set(said["responses"]) == {status, "default"}
    response = said["responses"][status]
    assert response["headers"]["Blog-Sequence"]["schema"]["type"] == "integer"
    named = {"$ref": f"#/components/schemas/{service}.{model}"}
    assert response.get("content") == ({"application/json": {"schema": named}} if model else None)
    assert ("requestBody" in said) is (body is not None)
    if body is not None:
        schema = said["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{service}.{body}"}


@pytest.mark.parametrize(("service", "path"), [("posts", POST), ("comments", COMMENT)])
def test_deleting_may_name_a_version(service: str, path: str) -> None:
    """In the query string, as a DELETE has no body."""
    [sequence] = [
        item for item in operation(service, "delete", path)["parameters"] if item["in"] == "query"
    ]
    assert (sequence["name"], sequence["required"]) == ("sequence", False)


def test_responses_of_queries_name_no_sequence() -> None:
    """They wrote nothing."""
    assert "headers" not in operation("query", "get", "/posts")["responses"]["200"]


def test_streams_say_how_to_go_on() -> None:
    """By the header of browsers, or by what a new EventSource can send."""
    said = operation("query", "get", "/live")["parameters"]
    assert [(item["in"], item["name"], item["required"]) for item in said] == [
        ("header", "Last-Event-ID", False),
        ("query", "last_event_id", False),
    ]
