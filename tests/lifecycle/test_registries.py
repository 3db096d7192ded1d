"""Where an instance announces itself, if one of the registries is its own."""

import pytest

from blog.core.settings import Settings
from blog.lifecycle.registries import own_url, registries_of


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("0.0.0.0:4000", "http://127.0.0.1:4000"),
        ("[::]:4000", "http://[::1]:4000"),
        ("10.0.0.5:4000", "http://10.0.0.5:4000"),
    ],
)
def test_the_own_registry_is_reached_from_inside(bound: str, expected: str) -> None:
    """At loopback, where every address includes that."""
    assert own_url(bound) == expected


@pytest.mark.parametrize(
    ("named", "own", "expected"),
    [
        (("http://a:4000",), None, ["http://a:4000"]),
        (("http://a:4000", "http://b:4000"), None, ["http://a:4000", "http://b:4000"]),
        (("http://a:4000",), "http://127.0.0.1:4000", ["http://127.0.0.1:4000"]),
        (
            ("http://a:4000", "http://b:4000"),
            "http://127.0.0.1:4000",
            ["http://127.0.0.1:4000", "http://a:4000", "http://b:4000"],
        ),
    ],
)
def test_one_registry_is_enough_for_itself_several_know_each_other(
    named: tuple[str, ...], own: str | None, expected: list[str]
) -> None:
    """The default names a registry at this machine, which may be that of another blog."""
    assert list(registries_of(Settings(registry=named), own)) == expected
