"""The house rules that a reader relies on, checked on the source itself."""

import ast
import fnmatch
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("collectors", "dataflows", "dash_app")
EXAMPLES = "examples"  # not in the wheel; they see the library only, as anybody's job does
DATA = ("avro", "cassandra", "k8s")
MAX_LINES = 350

# Who may import whom inside the library: a room uses the rooms of the rows above its own, and itself. What is in no row
# stands above all of them: track(), the recorder, the commands.
LAYERS = (
    {"access", "errors", "logs", "units", "resources", "settings", "programs", "retry", "grid", "text"},
    {"wire", "stream"},
    {"ledger"},
    {"emissions"},
    {"log", "stores", "sensors"},
)

# The one door of each dependency. A dependency that is not here is a decision: docs/adr/0005.
PAGE = ["dash_app/*"]
DOORS = {
    "bytewax": ["dataflows/*"],
    "cassandra": ["kappawatt/stores/connection.py"],
    "confluent_kafka": ["kappawatt/log/kafka.py", "kappawatt/wire/registry.py"],
    "dash": PAGE,
    "dash_ag_grid": PAGE,
    "dash_mantine_components": PAGE,
    "fastapi": PAGE,
    "fastavro": ["kappawatt/wire/codec.py", "examples/downsampling/readings.py"],
    "numpy": [
        "kappawatt/wire/*",
        "kappawatt/stream/*",
        "kappawatt/ledger/*",
        "kappawatt/emissions/*",
        "kappawatt/log/file_reader.py",
        "kappawatt/log/bucket_consumer.py",
        "kappawatt/demo_training.py",
        "kappawatt/recount.py",
        "kappawatt/testing/log.py",
        "dataflows/*",
        "examples/*",
    ],
    "plotly": PAGE,
    "prometheus_client": ["kappawatt/metrics.py"],
    "polars": ["kappawatt/wire/decode_block.py"],
    "psutil": ["kappawatt/sensors/host.py"],
    "pynvml": ["kappawatt/sensors/nvml.py"],
    "sklearn": ["kappawatt/demo_training.py"],
    "sqlite3": ["kappawatt/stores/sqlite.py", "dataflows/recovery_files.py", "examples/downsampling/tables.py"],
    "starlette": PAGE,
    "uvicorn": PAGE,
}
# Loaded with `import kappawatt` they would cost every training time and memory.
HEAVY = {"bytewax", "cassandra", "confluent_kafka", "dash", "fastapi", "numpy", "polars", "pynvml", "sklearn"}


class Import(NamedTuple):
    """One import: where it stands, the absolute name it asks for, and whether it was written with dots."""

    file: str
    line: int
    name: str
    relative: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports_of(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, False)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (above, node.module)))
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}", node.level > 0)


def all_imports(*folders: str) -> list[Import]:
    return [found for path in sources(*folders) for found in imports_of(path)]


def room_of(name: str) -> str:
    """`wire` for kappawatt.wire.codec and for kappawatt/wire/codec.py, `errors` for kappawatt/errors.py."""
    parts = re.split(r"[./]", name.removesuffix(".py"))
    return parts[1] if len(parts) > 1 else ""


def layer_of(room: str) -> int:
    return next((level for level, rooms in enumerate(LAYERS) if room in rooms), len(LAYERS))


def may_use(user: str, used: str) -> bool:
    top = len(LAYERS)
    below = layer_of(used) < layer_of(user)
    return below or used == user or layer_of(used) == layer_of(user) in (0, top)


def listed(found: list[Import]) -> list[str]:
    return sorted(map(str, found))


def test_library_imports_no_program():
    found = [i for i in all_imports("kappawatt") if i.name.split(".")[0] in (*PROGRAMS, EXAMPLES)]

    assert listed(found) == []


@pytest.mark.parametrize("program", [*PROGRAMS, EXAMPLES])
def test_program_imports_itself_relatively_and_no_other_program(program):
    found = [i for i in all_imports(program) if not i.relative and i.name.split(".")[0] in (*PROGRAMS, EXAMPLES)]

    assert listed(found) == []


@pytest.mark.parametrize("program", [*PROGRAMS, EXAMPLES])
def test_relative_imports_stay_inside_their_program(program):
    found = [i for i in all_imports(program) if i.relative and i.name.split(".")[0] != program]

    assert listed(found) == []


def test_rooms_of_the_library_import_downwards():
    inside = [i for i in all_imports("kappawatt") if i.name.startswith("kappawatt.")]

    assert listed([i for i in inside if not may_use(room_of(i.file), room_of(i.name))]) == []


def test_stream_operators_know_nothing_of_energy():
    words = re.compile(r"energy|joule|uj$|watt|carbon|emission|co2|intensity", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{token.start[0]} {token.string}"
        for path in sources("kappawatt/stream")
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.NAME and token.string != "kappawatt" and words.search(token.string)
    ]

    assert found == []


def test_each_dependency_has_one_door():
    own = {"kappawatt", *PROGRAMS, EXAMPLES}
    foreign = [
        (i, i.name.split(".")[0])
        for i in all_imports("kappawatt", *PROGRAMS, EXAMPLES)
        if i.name.split(".")[0] in DOORS or i.name.split(".")[0] not in sys.stdlib_module_names | own
    ]
    wrong = [i for i, top in foreign if not any(fnmatch.fnmatch(i.file, door) for door in DOORS.get(top, ()))]

    assert listed(wrong) == []


@pytest.mark.parametrize("folder", DATA)
def test_data_folder_holds_no_python(folder):
    found = [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py*")]

    assert found == []


def test_no_folder_under_tests_hides_a_dependency():
    folders = {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()}

    assert folders & (set(DOORS) | {"avro", "build", "hatchling", "hypothesis", "playwright", "pytest"}) == set()


def test_tests_have_no_package_files():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_test_files_have_unique_names():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert sorted(names) == sorted(set(names))


def test_no_test_is_skipped_or_expected_to_fail():
    escape = re.compile(r"\b(pytest|mark|unittest)\.(skip|skipif|xfail|importorskip|skipIf|skipUnless)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources("tests")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if escape.search(line)
    ]

    assert found == []


def test_modules_are_short():
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in sources("kappawatt", *PROGRAMS, EXAMPLES, "tests/stack")
        if (lines := len(path.read_text().splitlines())) >= MAX_LINES
    }

    assert long == {}


@pytest.mark.parametrize("statement", ["import kappawatt", "from kappawatt import track", "import kappawatt.cli"])
def test_import_is_light(statement):
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {name.split(".")[0] for name in loaded.split()} & HEAVY == set()
