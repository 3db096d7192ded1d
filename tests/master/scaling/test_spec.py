"""How many replicas: from a file, from words, and what cannot be."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from blog.core.errors import SettingsError
from blog.master.scaling.autoscale import AutoscaleTarget
from blog.master.scaling.schedule import ScheduleEntry
from blog.master.scaling.spec import machine_zone, parse_counts, read

KNOWN = ("gateway", "bus", "posts", "comments")
WHOLE = """
timezone = "Europe/Berlin"
[services.comments]
replicas = 2
schedule = [ { at = "0 10 * * *", replicas = 5 }, { at = "0 1 * * *", replicas = 1 } ]
autoscale = { min = 1, max = 6, in_flight = 20, lag = 100 }
[services.posts]
timezone = "Asia/Tokyo"
[services.bus]
replicas = 1
"""


def test_a_file_says_what_holds(tmp_path: Path) -> None:
    """Replicas, a schedule, autoscaling, and in whose time; a service may have a zone of its own."""
    file = tmp_path / "blog.toml"
    file.write_text(WHOLE)
    specs = read(file, KNOWN)
    assert list(specs) == list(KNOWN)
    comments = specs["comments"]
    assert comments.replicas == 2
    assert comments.schedule == (ScheduleEntry("0 10 * * *", 5), ScheduleEntry("0 1 * * *", 1))
    assert comments.autoscale == AutoscaleTarget(min=1, max=6, in_flight=20, lag=100)
    assert (comments.zone, specs["posts"].zone) == (ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"))
    assert specs["gateway"].replicas is None


def test_without_a_file_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time of this machine, as cron has it."""
    monkeypatch.setenv("TZ", "America/New_York")
    specs = read(tmp_path / "blog.toml", KNOWN)
    assert {spec.replicas for spec in specs.values()} == {None}
    assert specs["comments"].zone == ZoneInfo("America/New_York")


def test_the_zone_of_the_machine_changes_its_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown TZ is no zone to guess at: UTC; without TZ it is what /etc/localtime says."""
    monkeypatch.setenv("TZ", "No/Where")
    assert str(machine_zone()) == "UTC"
    monkeypatch.delenv("TZ")
    assert machine_zone() is not None


MISTAKES = [
    ("[services.comments", "Expected"),
    ("[services.comments]\nreplicas = -1", "services.comments.replicas"),
    ("[services.comments]\nreplicas = 101", "services.comments.replicas"),
    ("[services.comments]\nreplicas = 1.5", "services.comments.replicas"),
    ("[services.comments]\nreplicas = true", "services.comments.replicas"),
    ("[services.comments]\nreplicas = 'two'", "services.comments.replicas"),
    ("[services.comments]\ncopies = 2", "services.comments.copies"),
    ("[servces.comments]\nreplicas = 2", "servces"),
    ("[services.coments]\nreplicas = 2", "services.coments"),
    ("[services.bus]\nreplicas = 2", "services.bus: bus runs once"),
    ("[services.gateway]\nschedule = [{at = '0 1 * * *', replicas = 1}]", "services.gateway"),
    ("timezone = 'Europe/Berlyn'", "timezone: there is no time zone 'Europe/Berlyn'"),
    ("timezone = '/etc/passwd'", "timezone: there is no time zone"),
    ("timezone = ''", "timezone: there is no time zone"),
    ("[services.comments]\ntimezone = 'Europe'", "services.comments.timezone"),
    (
        "[services.comments]\nschedule = [{at = '0 10 * *', replicas = 5}]",
        "schedule.0.at: is five fields",
    ),
    ("[services.comments]\nschedule = [{at = '0 99 * * *', replicas = 5}]", "schedule.0.at: bad hour"),
    ("[services.comments]\nschedule = [{at = '0 9 * * *'}]", "schedule.0.replicas"),
    ("[services.comments]\nschedule = {at = '0 9 * * *', replicas = 1}", "services.comments.schedule"),
    ("[services.comments]\nautoscale = {min = 1, in_flight = 2}", "autoscale.max"),
    ("[services.comments]\nautoscale = {min = 0, max = 2, in_flight = 2}", "autoscale.min"),
    ("[services.comments]\nautoscale = {min = 3, max = 2, in_flight = 2}", "autoscale: min is 3"),
    ("[services.comments]\nautoscale = {max = 2}", "autoscale: needs a target"),
    ("[services.comments]\nautoscale = {max = 2, in_flight = 0}", "autoscale.in_flight"),
    ("[services.comments]\nautoscale = {max = 2, lag = inf}", "autoscale.lag"),
    ("[services.comments]\nreplicas = 9\nautoscale = {max = 6, lag = 9}", "replicas is 9"),
    (
        "[services.posts]\nautoscale = {max = 6, lag = 9}\nschedule = [{at = '0 9 * * *', replicas = 9}]",
        "schedule.0.replicas is 9, but autoscale goes from 1 to 6",
    ),
]


@pytest.mark.parametrize(("text", "place"), MISTAKES)
def test_a_mistake_is_one_line_that_says_where(tmp_path: Path, text: str, place: str) -> None:
    """It names the file and the place in it."""
    file = tmp_path / "blog.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"blog\.toml: ") as caught:
        read(file, KNOWN)
    assert place in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder, or bytes that are no text."""
    with pytest.raises(SettingsError, match="directory"):
        read(tmp_path, KNOWN)
    (tmp_path / "blog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"blog\.toml"):
        read(tmp_path / "blog.toml", KNOWN)


def test_words_say_how_many() -> None:
    """`comments=3 posts=auto`."""
    assert parse_counts(["comments=3", "posts=auto"]) == {"comments": 3, "posts": None}


@pytest.mark.parametrize("word", ["comments", "comments=", "=3", "comments=x", "comments=-1"])
def test_other_words_are_refused(word: str) -> None:
    """With an example of how it is written."""
    with pytest.raises(SettingsError, match="comments=3"):
        parse_counts([word])
