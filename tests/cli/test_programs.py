"""Commands that run one instance of a program, and their options."""

import pytest

from blog.cli import process
from blog.cli.commands import cli


@pytest.mark.parametrize(
    ("option", "note"),
    [("--replica-lock", ""), ("--copy-lock", "blog: --copy-lock is now called --replica-lock.\n")],
)
def test_a_lock_may_have_its_old_name(
    option: str, note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A master that was started before an upgrade starts replicas of the new version with it."""
    started: list[tuple[str, int]] = []

    def run_instance(name: str, *, lock: int, adopt: bool) -> None:
        assert not adopt
        started.append((name, lock))

    monkeypatch.setattr(process, "run_instance", run_instance)
    cli.main(["posts", option, "7"], standalone_mode=False)
    assert started == [("posts", 7)]
    assert capsys.readouterr().err == note
