"""What holds for the whole tree: one class for each name, and no circle of imports.

The layers are held by import-linter (`make check`).
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
BLOG = ROOT / "blog"
SERVICES = BLOG / "services"


def classes_in(files: Iterable[Path]) -> list[str]:
    """Name every class that is defined in `files`, nested ones included."""
    trees = (ast.parse(file.read_text()) for file in files)
    return [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that are there more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def circles(nodes: Iterable[str], successors: Callable[[str], Iterable[str]]) -> list[list[str]]:
    """Return the groups of nodes that can reach each other (Tarjan 1972), without those of one node."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in successors(node):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            start = stack.index(node)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for node in nodes:
        if node not in index:
            visit(node)
    return [group for group in found if len(group) > 1]


def test_a_class_name_means_one_thing_in_the_platform() -> None:
    """Who greps for it finds it; who reads it in an error knows which it is."""
    assert not repeated(classes_in(file for file in BLOG.rglob("*.py") if SERVICES not in file.parents))


@pytest.mark.parametrize("service", sorted(path.parent.name for path in SERVICES.glob("*/service.py")))
def test_a_class_name_means_one_thing_in_a_service(service: str) -> None:
    """Services know nothing of each other's: a `Comment` may be in two of them."""
    assert not repeated(classes_in((SERVICES / service).rglob("*.py")))


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Who imports whom; for types only and within a function count too."""
    return grimp.build_graph("blog", cache_dir=None)


def test_no_modules_import_each_other_in_a_circle(imports: grimp.ImportGraph) -> None:
    """Each can be read, and tested, with what it imports alone."""
    assert not circles(sorted(imports.modules), imports.find_modules_directly_imported_by)


def packages() -> list[str]:
    """Name every package but that of services, which may know the events of each other."""
    folders = sorted(file.parent.relative_to(ROOT) for file in BLOG.rglob("__init__.py"))
    return [".".join(folder.parts) for folder in folders if folder != Path("blog", "services")]


@pytest.mark.parametrize("package", packages())
def test_neighbours_do_not_import_each_other_in_a_circle(
    imports: grimp.ImportGraph, package: str
) -> None:
    """Within a package as between the rooms: arrows have one direction, for a whole subpackage too."""
    below = {child: {child} | imports.find_descendants(child) for child in imports.find_children(package)}
    of = {module: child for child, modules in below.items() for module in modules}

    def neighbours(child: str) -> set[str]:
        imported = {
            name for one in below[child] for name in imports.find_modules_directly_imported_by(one)
        }
        return {of[name] for name in imported if name in of} - {child}

    assert not circles(sorted(below), neighbours)


def test_a_circle_would_be_found() -> None:
    """A check that cannot fail is none."""
    imports = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": ["f"], "f": ["e"], "g": []}
    assert circles("gfedcba", imports.__getitem__) == [["e", "f"], ["a", "b", "c"]]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE_FILE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_files_that_exist(document: Path) -> None:
    """Whoever follows a path arrives; `claps` is the service that README has the reader write."""
    named = [path for path in SOURCE_FILE.findall(document.read_text()) if "/claps/" not in path]
    assert [path for path in named if not (BLOG / path).exists() and not (ROOT / path).exists()] == []


NAMED_TEST = re.compile(r"`(tests/[a-z_0-9/]+\.py)::(test_[a-z_0-9]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_tests_that_exist(document: Path) -> None:
    """A rule whose test was renamed or removed is noticed: it may be no rule any more."""
    named = NAMED_TEST.findall(document.read_text())
    assert [name for name in named if not _has_test(*name)] == []


def test_a_test_that_is_missing_would_be_found() -> None:
    """By its file, or by its name in that."""
    assert NAMED_TEST.findall("`tests/a/test_b.py::test_c`") == [("tests/a/test_b.py", "test_c")]
    assert _has_test("tests/test_architecture.py", "test_documents_name_tests_that_exist")
    assert not _has_test("tests/test_architecture.py", "test_documents_name")
    assert not _has_test("tests/test_nothing.py", "test_documents_name_tests_that_exist")


def _has_test(file: str, name: str) -> bool:
    path = ROOT / file
    return path.exists() and re.search(rf"def {name}\(", path.read_text()) is not None


KIT = {
    r"fcntl\.flock\(": {"core/files/lock.py"},
    r"os\.fsync\(": {"core/files/atomic.py"},
    r"random\.uniform\(": set[str](),
    r"partition\(\":\"\)": {"core/net/address.py", "gateway/edge/client_address.py"},
    r"\bINSTANCE_HEADER: ": {
        "core/net/instance_client.py",
        "core/web.py",  # of a response, as in lifecycle/
        "lifecycle/health_endpoints.py",
        "cli/operator.py",  # calls what a run file names: there is no Instance of it
    },
}
"""What the kit in core does for all, as it looks when written by hand, and the files that may have it."""


@pytest.mark.parametrize("by_hand", KIT)
def test_what_the_kit_does_is_written_once(by_hand: str) -> None:
    """Locks, durable writes, jitter, addresses and calls to instances are mended in one place."""
    found = {
        file.relative_to(BLOG).as_posix()
        for file in BLOG.rglob("*.py")
        if re.search(by_hand, file.read_text())
    }
    assert found == KIT[by_hand]


SINKS = {
    "print": {"cli/health.py"},  # starts every few seconds; escapes what it prints itself
    "click.echo": set[str](),
    "click.secho": set[str](),
    "click.confirm": {"cli/operator.py"},  # asks with words of ours
    "click.prompt": set[str](),
    "sys.stdout": {
        "core/output.py",
        "core/logs.py",
        "gateway/telemetry/access_log.py",  # lines of JSON in ASCII
        "cli/os_errors.py",  # those three flush, or look what it is
        "cli/isolated.py",
        "cli/commands.py",
    },
    "sys.stderr": {"core/output.py", "cli/isolated.py", "cli/health.py"},
    "rich.console.Console": {"cli/rows.py"},
    "rich.table.Table": {"cli/rows.py"},
    "rich.text.Text": {"cli/rows.py"},
    "rich.print": set[str](),
}
"""What writes to a terminal, and the files that may: in every other one text of others would be raw."""


def mentions(tree: ast.AST) -> set[str]:
    """Return the dotted names that a module uses, imported ones by their whole name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                found.add(f"{module}.{name}")
            case ast.ImportFrom(module=str(module), names=names):
                found |= {f"{module}.{alias.name}" for alias in names}
            case ast.Call(func=ast.Name(id=name)):
                found.add(name)
    return found


@pytest.mark.parametrize("sink", SINKS)
def test_nothing_else_writes_to_a_terminal(sink: str) -> None:
    """What others wrote is escaped where it is written, in one place."""
    files = [file for file in BLOG.rglob("*.py") if sink in mentions(ast.parse(file.read_text()))]
    assert {file.relative_to(BLOG).as_posix() for file in files} <= SINKS[sink]


def test_a_sink_would_be_found() -> None:
    """However it is named."""
    source = "import sys\nfrom rich.console import Console\nprint()\nsys.stdout.write('')"
    assert {"print", "sys.stdout", "rich.console.Console"} <= mentions(ast.parse(source))
