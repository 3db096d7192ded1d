"""One instance as a process: how it ends before it runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import services_beside

WAITS = "import time\nopen('is-imported', 'w').close()\nwhile True:\n    time.sleep(0.01)\n"


def test_ctrl_c_while_a_service_is_imported_is_no_fault_of_its(tmp_path: Path) -> None:
    """130, as anywhere: 2 is for what cannot run."""
    path = services_beside(tmp_path, {"endless": WAITS})
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    with subprocess.Popen(
        [sys.executable, "-m", "blog", "endless"],
        cwd=tmp_path, env=clean | {"PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            while not (tmp_path / "is-imported").exists() and process.poll() is None:
                os.sched_yield()
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()  # it waits for ever where its parent ignores the signal
    assert process.returncode == 130, output
    assert "Traceback" not in output
