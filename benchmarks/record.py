"""Record: what was measured, where and when; kept without a word of whose machine that was.

Results say how programs were configured, which names folders of the machine: `scrubbed` takes them out.
"""

import json
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.programs import ROOT, TOOLS

RESULTS = Path(__file__).parent / "results"
Figures = dict[str, float]

_TEMPORARY = rf"{re.escape(tempfile.gettempdir())}/bench-[\w-]+(/tmp\w+)?"
# in this order: one may be a folder in another that comes later
_NAMED = {f"{TOOLS / 'bin'}/": "", sys.prefix: "PYTHON", str(ROOT): "CHECKOUT"}


def machine() -> str:
    """Return when and on what kind of machine this is measured."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "?")
    when = time.strftime("%Y-%m-%d %H:%M")
    kernel = platform.release().partition("-")[0]
    return f"{when}; {os.cpu_count()} x {model}; Linux {kernel}; Python {platform.python_version()}"


def keep(out: Path, name: str, result: dict[str, Any], text: str) -> None:
    """Print a report and put it, with all that was measured, into the folder `out`."""
    out.mkdir(exist_ok=True)
    (out / f"{name}.json").write_text(scrubbed(json.dumps(result, indent=2)) + "\n")
    (out / f"{name}.md").write_text(scrubbed(text))
    print(f"\n{text}")


def scrubbed(text: str) -> str:
    """Return `text` without the folders of this machine: FOLDER is a temporary one of the run."""
    text = re.sub(_TEMPORARY, "FOLDER", text)
    for path, instead in _NAMED.items():
        text = text.replace(path, instead)
    return text
