"""What the benchmarks keep says nothing of the machine that it was measured on, beside its kind."""

import json
import platform
import re
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.programs import ROOT, TOOLS
from benchmarks.record import RESULTS, keep

ABSOLUTE = re.compile(r"(?<![\w.:/-])/(?:bin|etc|home|mnt|opt|root|srv|tmp|usr|var|work|Users)/[\w./-]+")
FILES = sorted(path.name for path in RESULTS.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_no_result_names_a_folder_or_the_machine(name: str) -> None:
    """Neither the report nor what programs read."""
    text = (RESULTS / name).read_text()
    assert ABSOLUTE.findall(text) == []
    assert f'"{platform.node()}"' not in text


def test_what_is_kept_names_no_folder(tmp_path: Path) -> None:
    """Whatever a program was told, or said when it did not start."""
    folder = f"{tempfile.gettempdir()}/bench-gateway-a_1b/tmp2x"
    told = {
        "arguments": ["-p", folder, f"--log={folder}/access.log", f"{sys.prefix}/bin/python"],
        "version": f"{TOOLS}/bin/envoy  version: 1",
        "why": f"{ROOT}/blog is missing",
    }
    keep(tmp_path, "name", told, f"missing: {folder}/nginx.conf\n")
    assert json.loads((tmp_path / "name.json").read_text()) == {
        "arguments": ["-p", "FOLDER", "--log=FOLDER/access.log", "PYTHON/bin/python"],
        "version": "envoy  version: 1",
        "why": "CHECKOUT/blog is missing",
    }
    assert (tmp_path / "name.md").read_text() == "missing: FOLDER/nginx.conf\n"
