"""In the image, what is no command of ours is executed as it is."""

import pytest

from blog.cli.entrypoint import foreign


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["up"],
        ["posts"],
        ["posts", "delete", "some-id", "--yes"],
        ["gateway"],
        ["logs", "-f"],
        ["healthcheck"],
        ["no-such-program"],
    ],
)
def test_our_commands_are_ours(words: list[str]) -> None:
    """As is what nobody knows: the command line says so."""
    assert foreign(words) is None


def test_other_programs_are_executed() -> None:
    """`docker run -it blog sh`."""
    assert (foreign(["sh", "-c", "true"]) or "").endswith("/sh")
