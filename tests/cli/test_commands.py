"""The command line: what it lists, and what it says to wrong words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blog.cli.commands import cli
from blog.master.programs import COMMANDS


def blog(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `blog` in `folder`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    return subprocess.run(
        [sys.executable, "-m", "blog", *words],
        cwd=folder,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_words_it_lists_what_can_run(tmp_path: Path) -> None:
    """Commands, and one instance of each service."""
    done = blog(tmp_path)
    assert done.returncode == 0
    for word in ("up", "down", "ps", "scale", "logs", "blog posts", "blog gateway", "blog bus"):
        assert word in done.stdout


def test_settings_are_listed(tmp_path: Path) -> None:
    """Every variable with its value, those of services too, and no secret."""
    done = blog(tmp_path, "settings", BLOG_PUBLIC_PORT="8081", BLOG_TOKEN="hush" * 4)
    assert done.returncode == 0
    assert "BLOG_PUBLIC_PORT" in done.stdout
    assert "8081" in done.stdout
    assert "BLOG_MODERATION_WORDS" in done.stdout
    assert "hush" not in done.stdout


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        (["posts"], {"BLOG_PORT": "many"}, "BLOG_PORT='many'"),
        (["up"], {"BLOG_PUBLIC_PORT": "99999"}, "BLOG_PUBLIC_PORT"),
        (["up", "--scale", "comments"], {}, "comments=3"),
        (["up", "--scale", "coments=2"], {}, "coments"),
        (["up", "--scale", "bus=2"], {}, "bus runs once"),
        (["ps"], {}, "blog up"),
        (["scale", "comments=2"], {}, "blog up"),
        (["logs"], {}, "blog up"),
        (["down"], {}, "blog up"),
        (["up"], {"BLOG_DATA_DIR": "/proc/nothing"}, "BLOG_DATA_DIR=/proc/nothing"),
        (["up", "-d"], {"BLOG_DATA_DIR": "/proc/nothing"}, "BLOG_DATA_DIR=/proc/nothing"),
        (["up"], {"BLOG_DATA_DIR": "/dev/null/x"}, "not a folder"),
        (["bus"], {"BLOG_DATA_DIR": "/dev/null/x"}, "not a folder"),
        (["up"], {"BLOG_DATA_DIR": "x" * 300}, "too long"),
        (["ps"], {"BLOG_DATA_DIR": "x" * 300}, "too long"),
        (["events"], {"BLOG_DATA_DIR": "x" * 300}, "too long"),
        (["down"], {"BLOG_DATA_DIR": "x" * 300}, "too long"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(
    tmp_path: Path, words: list[str], environ: dict[str, str], says: str
) -> None:
    """It says what to do."""
    done = blog(tmp_path, *words, **environ)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert says in line


@pytest.mark.parametrize("words", [["coments"], ["up", "--loud"]])
def test_unknown_words_are_refused(tmp_path: Path, words: list[str]) -> None:
    """With the usage."""
    done = blog(tmp_path, *words)
    assert done.returncode == 2
    assert "No such" in done.stderr


def test_an_unknown_variable_is_a_warning_with_the_nearest_name(tmp_path: Path) -> None:
    """It does not keep anything from starting."""
    environ = {"BLOG_PUBLIC_PROT": "1", "BLOG_PUBLIC_PORT": "99999"}
    assert blog(tmp_path, "up", **environ).returncode == 2
    environ = {"BLOG_PUBLIC_PROT": "1", "BLOG_DATA_DIR": str(tmp_path / "file" / "x")}
    (tmp_path / "file").write_text("")
    done = blog(tmp_path, "up", **environ)
    assert "setting.unknown" in done.stdout
    assert "BLOG_PUBLIC_PORT" in done.stdout


def test_a_service_that_finds_no_registry_says_what_to_do_and_ends_when_asked(
    tmp_path: Path,
) -> None:
    """It keeps trying; SIGTERM ends it with code 0."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BLOG_")} | {
        "BLOG_REGISTRY": "http://nowhere.invalid:4000",
        "BLOG_DATA_DIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "blog", "posts"], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "registry.unreachable" in line)
        assert "BLOG_REGISTRY" in line
        process.terminate()
        assert process.wait(10) == 0


def test_a_service_cannot_be_called_like_a_command() -> None:
    """Every command is named where services are listed."""
    assert set(cli.commands) == COMMANDS


@pytest.mark.parametrize(
    "name", ["up.lock", "token", "scale.json", "control.sock", "blog.json", "copies"]
)
def test_what_is_in_the_way_of_the_master_is_one_line_and_code_2(name: str, tmp_path: Path) -> None:
    """A folder in the place of each of its files, a file in the place of its folder."""
    path = tmp_path / "data" / "run" / name
    if name == "copies":
        path.parent.mkdir(parents=True)
        path.write_text("")
    else:
        (path / "x").mkdir(parents=True)
    done = blog(tmp_path, "up", BLOG_PUBLIC_PORT="0", BLOG_ADMIN_PORT="0", BLOG_LOG_LEVEL="error")
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert str(Path("data", "run", name)) in line


def test_a_working_directory_that_was_removed_is_one_line_and_code_2(tmp_path: Path) -> None:
    """There is no place for a relative path."""
    for words in (["up"], ["bus"]):
        code = (
            "import os, sys; os.mkdir('x'); os.chdir('x'); os.rmdir('../x')\n"
            f"sys.argv[1:] = {words!r}; from blog.__main__ import main; sys.exit(main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.strip().splitlines()
        assert line.startswith("blog: BLOG_DATA_DIR=data")
