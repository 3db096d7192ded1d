"""Settings are listed, whatever a service's model of them does."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import services_beside

MODEL = """
from blog.core.contract import Service
from blog.core.settings import ServiceSettings

class Own(ServiceSettings):
    {}_words: str = "x"

    def model_post_init(self, context: object) -> None:
        {}

service = Service("{}", settings=Own)
"""
ENDS = {"odd": "raise KeyError('no such\\nthing')", "killed": "import os; os.kill(os.getpid(), 9)"}


def test_what_a_model_raises_is_the_reason(tmp_path: Path) -> None:
    """One line for each that cannot be listed; the others are."""
    broken = {name: MODEL.format(name, does, name) for name, does in ENDS.items()}
    path = services_beside(tmp_path, broken)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    done = subprocess.run(
        [sys.executable, "-m", "blog", "settings"],
        cwd=tmp_path, env=clean | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "BLOG_MODERATION_WORDS" in done.stdout
    killed, odd = sorted(done.stderr.splitlines(), key=lambda line: "KeyError" in line)
    assert killed == (
        "blog: settings of killed are not listed: it ends the process that imports it (exit code -9)"
    )
    assert odd.startswith("blog: settings of odd are not listed: ")
    assert f"{tmp_path / 'services' / 'odd' / 'service.py'}:9: KeyError: " in odd
