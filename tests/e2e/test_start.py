"""What keeps one service from starting is said in one line, and keeps nobody else from it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Blog, services_beside, wait_until
from tests.e2e.test_up import SERVICES

Up = Callable[..., Blog]

BROKEN = {
    "syntax": "x = 1\ndef (\n",
    "exits": "import sys\nprint('noise')\nsys.exit(0)\n",
    "ambiguous": (
        "from pydantic import BaseModel\nfrom blog.core.contract import Service\n"
        "service = Service('ambiguous')\nclass Body(BaseModel): ...\n"
        "@service.command('POST', '/two')\ndef two(a: Body, b: Body) -> None: ...\n"
    ),
    "killed": "import os\nos._exit(7)\n",
}


def run(blog: Blog, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "blog", *words],
        env=blog.environ, cwd=blog.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_broken_services_keep_nobody_else_from_running(up: Up, tmp_path: Path) -> None:
    """`up`, `ps`, `settings`, `--help` and the other services go on; each says where it is broken."""
    path = services_beside(tmp_path, BROKEN)
    blog = up(PYTHONPATH=path, BLOG_LOG_FORMAT="json")
    blog.wait_until_ready(**SERVICES)
    assert requests.post(f"{blog.url}/posts", json={"title": "Hello"}, timeout=10).status_code == 201
    wait_until(lambda: "ready after" in blog.said(), 60)
    said = blog.said()
    syntax = str(tmp_path / "services" / "syntax" / "service.py") + ":2: SyntaxError"
    assert f"syntax-1 cannot run, the others do: {syntax}" in said
    assert said.count('"replica": "syntax-1"') == 1
    assert "exits-1 cannot run, the others do:" in said
    assert "ambiguous-1 cannot run, the others do:" in said
    listed = run(blog, "ps")
    assert listed.returncode == 0
    assert f"syntax-1 | {syntax}" in listed.stdout
    assert "cannot run" in listed.stdout
    settings = run(blog, "settings")
    assert settings.returncode == 0
    assert "BLOG_MODERATION_WORDS" in settings.stdout
    assert "noise" not in settings.stdout
    assert len(settings.stderr.splitlines()) == len(BROKEN) - 1  # a contract is read when it runs
    assert syntax in settings.stderr
    assert (
        "settings of killed are not listed: it ends the process that imports it (exit code 7)"
        in settings.stderr
    )
    assert "blog syntax" in run(blog, "--help").stdout
    for name, says in {
        "syntax": syntax,
        "exits": "SystemExit: 0",
        "ambiguous": "two takes two bodies",
    }.items():
        alone = run(blog, name)
        assert alone.returncode == 2
        assert says in alone.stderr.splitlines()[-1]
    rollout = run(blog, "rollout", "syntax")
    assert rollout.returncode == 1
    assert f"cannot run: {syntax}" in rollout.stderr


def test_one_that_waits_for_ever_is_said_to_be_slow(tmp_path: Path) -> None:
    """It looks like one that starts; its log says what it does."""
    path = services_beside(tmp_path, {"endless": "import time\nwhile True:\n    time.sleep(0.01)\n"})
    code = "from blog.cli import process; process.SLOW_IMPORT = 0.2\n"
    code += "import sys; sys.argv[1:] = ['endless']; from blog.__main__ import main; sys.exit(main())"
    environ = os.environ | {"PYTHONPATH": path, "BLOG_DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "service.slow_import" in line)
        assert "endless" in line
        process.kill()


def test_up_detached_says_what_cannot_run(up: Up, tmp_path: Path) -> None:
    """It returns all the same, as soon as the others are ready."""
    path = services_beside(tmp_path, {"syntax": BROKEN["syntax"]})
    blog = up(PYTHONPATH=path)
    blog.process.kill()
    blog.process.wait(20)
    run(blog, "down")
    done = run(blog, "up", "-d")
    try:
        assert done.returncode == 0, done.stderr
        assert "syntax-1" in done.stdout
        assert "ready after" in done.stdout
    finally:
        assert run(blog, "down").returncode == 0


@pytest.mark.parametrize("service", ["query", "gateway"])
def test_a_service_without_a_data_directory_runs(service: str, tmp_path: Path) -> None:
    """And can be asked whether it is well. It says once that a temporary folder takes its place."""
    (tmp_path / "tmp").mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")} | {
        "BLOG_DATA_DIR": "/dev/null/data", "BLOG_REGISTRY": "http://127.0.0.1:1", "BLOG_PORT": "0",
        "BLOG_PUBLIC_PORT": "0", "BLOG_ADMIN_PORT": "0", "TMPDIR": str(tmp_path / "tmp"),
    }  # fmt: skip

    def check(*words: str) -> int:
        command = [sys.executable, "-m", "blog", "healthcheck", *words]
        return subprocess.run(command, env=environ, capture_output=True, check=False).returncode

    output = tmp_path / "out.txt"
    with (
        output.open("w") as file,
        subprocess.Popen([sys.executable, "-m", "blog", service], env=environ, stdout=file) as process,
    ):
        try:
            wait_until(lambda: check() == 0, 30)
            ready = service == "gateway"  # it has a registry of its own
            wait_until(lambda: check("--startup") == (0 if ready else 1), 30)
        finally:
            process.terminate()
            assert process.wait(20) == 0
    said = output.read_text()
    assert said.count("run_file.not_written") == 1
    assert said.count("data_dir.fallback") == (1 if service == "query" else 0)
    assert "Traceback" not in said
    assert list((tmp_path / "tmp").iterdir()) == []
