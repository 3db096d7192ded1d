"""What a killed master left is taken over as it is, or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.settings import Settings
from blog.master.ports import known_token
from blog.master.recovery import RecoveryRecord, RuntimeKind, recovered, stop_leftovers
from tests.e2e.conftest import free_ports
from tests.master.stand_in import lock_of, stand_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings with any free ports."""
    (tmp_path / "run").mkdir()
    return Settings(data_dir=tmp_path, public_port=0, admin_port=0)


@pytest.fixture
def left(settings: Settings) -> Iterator[RecoveryRecord]:
    """Leave a gateway running, as a killed master does."""
    public, admin = free_ports(2)
    record = RecoveryRecord(runtime="process", host="127.0.0.1", public_port=public, admin_port=admin)
    record.write(settings.data_dir)
    (settings.data_dir / "run" / "token").write_text("secret" * 4)
    with stand_in(lock_of(settings.data_dir, "gateway-1")):
        yield record


async def recover(settings: Settings, kind: RuntimeKind = "process") -> tuple[list[str], Settings]:
    """Resume; return the names of what ran, and the settings."""
    async with recovered(kind, settings, SystemClock()) as (runtime, fitting):
        assert (RecoveryRecord.read(settings.data_dir) is None) is (kind == "in-process")
        return [found.name for found in runtime.adopted], fitting


async def test_a_blog_that_begins_gets_ports_and_a_token(settings: Settings) -> None:
    """How it runs is on record until its end."""
    names, fitting = await recover(settings)
    assert names == []
    assert fitting.public_port
    assert fitting.admin_port
    assert fitting.secret == known_token(settings.data_dir)
    assert RecoveryRecord.read(settings.data_dir) is None


async def test_what_runs_is_taken_over_with_its_ports_and_its_token(
    settings: Settings, left: RecoveryRecord
) -> None:
    """Though the gateway holds the ports."""
    names, fitting = await recover(settings)
    assert names == ["gateway-1"]
    assert (fitting.public_port, fitting.admin_port) == (left.public_port, left.admin_port)
    assert fitting.secret == "secret" * 4


@pytest.mark.usefixtures("left")
async def test_a_token_that_runs_already_accepts_may_become_the_one_that_is_sent(
    settings: Settings,
) -> None:
    """The last step but one of a rotation."""
    old, new = "secret" * 4, "another" * 4
    (settings.data_dir / "run" / "token").write_text(f"{old},{new}")
    rotated = settings.model_copy(update={"token": SecretStr(f"{new},{old}")})
    assert (await recover(rotated))[1].secret == new
    assert known_token(settings.data_dir) == new


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public_port": 1}, "BLOG_PUBLIC_PORT=1: .* has [0-9]+; .*`blog down`"),
        ({"admin_port": 1}, "BLOG_ADMIN_PORT=1: .* has [0-9]+; .*`blog down`"),
        ({"host": "127.0.0.2"}, "BLOG_HOST=127.0.0.2: .* has 127.0.0.1; .*`blog down`"),
        ({"token": SecretStr("another" * 4)}, "BLOG_TOKEN: .*`blog down`"),
    ],
)
async def test_another_blog_does_not_begin_beside_it(
    settings: Settings, left: RecoveryRecord, changes: dict[str, Any], message: str
) -> None:
    """It says what is different, and leaves what runs and its record alone."""
    with pytest.raises(SettingsError, match=message):
        await recover(settings.model_copy(update=changes))
    assert RecoveryRecord.read(settings.data_dir) == left
    assert (await recover(settings))[0] == ["gateway-1"]


@pytest.mark.parametrize("kind", ["docker", "in-process"])
async def test_another_runtime_does_not_begin_beside_it(
    settings: Settings, left: RecoveryRecord, kind: RuntimeKind
) -> None:
    """It says what runs there."""
    with pytest.raises(SettingsError, match="--runtime process"):
        await recover(settings, kind)
    assert RecoveryRecord.read(settings.data_dir) == left


@pytest.mark.parametrize("text", [None, "", '{"runtime": "pro', '{"runtime": "process"}'])
async def test_without_a_whole_record_nothing_is_guessed(
    settings: Settings, left: RecoveryRecord, text: str | None
) -> None:
    """Replicas run, but nobody knows how: `blog down` ends them."""
    file = settings.data_dir / "run" / "blog.json"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(SettingsError, match="`blog down`"):
        await recover(settings)
    assert await stop_leftovers(settings, None) == ["gateway-1"]
    assert (await recover(settings))[0] == []


async def test_a_record_of_what_is_gone_means_nothing(settings: Settings) -> None:
    """After a reboot: other ports are no other blog."""
    RecoveryRecord(runtime="process", host="127.0.0.1", public_port=1, admin_port=1).write(
        settings.data_dir
    )
    names, fitting = await recover(settings)
    assert names == []
    assert 1 not in (fitting.public_port, fitting.admin_port)


async def test_in_process_leaves_nothing_to_take_over(settings: Settings) -> None:
    """So there is no record."""
    assert (await recover(settings, "in-process"))[0] == []


async def test_ending_what_is_left(settings: Settings, left: RecoveryRecord) -> None:
    """Everything, and then there is nothing."""
    with stand_in(lock_of(settings.data_dir, "posts-2")):
        assert await stop_leftovers(settings, None) == ["gateway-1", "posts-2"]
    assert RecoveryRecord.read(settings.data_dir) is None
    assert await stop_leftovers(settings, None) == []
