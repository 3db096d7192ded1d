"""The tests mirror the code: who knows a file knows where its tests are."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Folders whose tests are by subject: services by given/when/then and by contract, e2e from outside.
BY_SUBJECT = {"services", "contracts", "e2e"}
# What the public port does as a whole: through every module of the room.
OF_THE_PORT = {"test_strictness.py", "test_streams.py"}


def test_every_test_file_has_its_module() -> None:
    """`tests/a/b/test_c.py` tests `blog/a/b/c.py`."""
    for test in (ROOT / "tests").glob("*/**/test_*.py"):
        place = test.relative_to(ROOT / "tests")
        if place.parts[0] not in BY_SUBJECT and test.name not in OF_THE_PORT:
            module = ROOT / "blog" / place.with_name(f"{test.stem.removeprefix('test_')}.py")
            assert module.exists(), f"{test} tests nothing"


def test_every_test_says_its_rule() -> None:
    """One sentence each."""
    for test in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(test.read_text())):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test_"):
                    assert ast.get_docstring(node), f"{test}: {node.name}"
