"""Recorded states of every version, and damaged ones: the flow goes on or begins anew, and its rows are right."""

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from kappawatt.emissions.names import READABLE, STATE_VERSION
from kappawatt.stores import open_store
from tests.flows.ledger_compare import differences
from tests.golden import make
from tests.oracle.model import Log
from tests.oracle.truth import expected_tables

GOLDEN = sorted(path.name for path in make.HERE.glob("state-v*.tar.xz"))
AGAIN = "reading the whole log again"


def records(folder: Path) -> list[Any]:
    found: list[Any] = []
    for path in sorted(folder.glob("*.avro")):
        with open(path, "rb") as file:
            found += [_micros(each) for each in fastavro.reader(file)]
    return found


def _micros(record: Any) -> Any:
    """Instants as whole µs, as the oracle has them."""
    return {
        name: round(value.timestamp() * 1_000_000) if hasattr(value, "timestamp") else value
        for name, value in record.items()
    }


def log_of(folder: Path) -> Log:
    """A recorded log as the oracle takes it."""
    names = {path.name.rpartition("-")[0] for path in (folder / "sample").glob("*.avro")}
    samples = {
        name: [one for path in sorted((folder / "sample").glob(f"{name}-*.avro")) for one in _of(path)]
        for name in sorted(names)
    }
    return Log(samples=samples, intensity=records(folder / "intensity"), run_events=records(folder / "run_event"))


def _of(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        return [_micros(each) for each in fastavro.reader(file)]


def grown(folder: Path) -> Log:
    """Let the log have grown to its whole length."""
    shutil.rmtree(folder / "log")
    shutil.copytree(folder / "longer", folder / "log")
    return log_of(folder / "log")


def finished(folder: Path) -> str:
    """Run the flow to the end; what it said. Its rows are those of the oracle."""
    log = grown(folder)
    done = make.flow(folder)
    assert done.returncode == 0, done.stderr
    store = open_store(f"sqlite:{folder / 'ledger.sqlite'}", read_only=True)
    try:
        expected = expected_tables(log)
        del expected["restatement"]  # it tells what the first half had shown
        assert differences(store, expected) == []
    finally:
        store.close()
    assert "Traceback" not in done.stderr
    assert "panicked" not in done.stderr
    return done.stderr


def test_this_version_has_been_recorded() -> None:
    assert f"state-v{STATE_VERSION}.tar.xz" in GOLDEN, "record it: python -m tests.golden.make"


@pytest.mark.parametrize("name", GOLDEN)
def test_recorded_state_is_resumed_or_left_for_the_log(tmp_path: Path, name: str) -> None:
    with tarfile.open(make.HERE / name) as archive:
        archive.extractall(tmp_path, filter="data")

    said = finished(tmp_path)

    version = int(name.removeprefix("state-v").partition(".")[0])
    if version in READABLE:
        assert AGAIN not in said
        assert json.loads((tmp_path / "state" / "identity.json").read_text())["state_version"] == STATE_VERSION
    else:
        assert f"its state version is {version}, here it is" in said
        assert AGAIN in said


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a flow of this version leaves after the first half of a log."""
    folder = tmp_path_factory.mktemp("golden")
    make.record(folder)
    return folder


def part(state: Path, number: int) -> Path:
    return state / "recovery" / f"part-{number}.sqlite3"


def change_identity(state: Path, text: Callable[[dict[str, Any]], str]) -> None:
    path = state / "identity.json"
    path.write_text(text(json.loads(path.read_text())))


def of_a_newer_version(state: Path) -> None:
    change_identity(state, lambda found: json.dumps(found | {"state_version": 999, "more": [1]}))


def of_another_log(state: Path) -> None:
    change_identity(state, lambda found: json.dumps(found | {"log": "file:elsewhere"}))


def with_an_identity_that_is_none(state: Path) -> None:
    change_identity(state, lambda _: "[1, 2]")


def with_a_torn_identity(state: Path) -> None:
    change_identity(state, lambda found: json.dumps(found)[:20])


def cut_short(state: Path) -> None:
    data = part(state, 3).read_bytes()
    part(state, 3).write_bytes(data[: len(data) // 2])


def emptied(state: Path) -> None:
    part(state, 0).write_bytes(b"")


def overwritten(state: Path) -> None:
    part(state, 5).write_bytes(b"no database at all " * 5_000)


def with_a_part_missing(state: Path) -> None:
    part(state, 7).unlink()


def with_a_part_more(state: Path) -> None:
    shutil.copy(part(state, 1), part(state, 8))


def without_recovery_files(state: Path) -> None:
    shutil.rmtree(state / "recovery")


def of_four_parts(state: Path) -> None:
    for number in range(4, 8):
        part(state, number).unlink()
    _in_all(state, "UPDATE parts SET part_count = 4", range(4))


def with_garbage_in_a_snapshot(state: Path) -> None:
    _in_all(state, "UPDATE snaps SET ser_change = x'deadbeef' WHERE rowid = (SELECT max(rowid) FROM snaps)", range(8))


def _in_all(state: Path, statement: str, numbers: range) -> None:
    for number in numbers:
        with sqlite3.connect(part(state, number)) as file:
            file.execute(statement)
        file.close()


DAMAGES = {
    of_a_newer_version: "its state version is 999, here it is",
    of_another_log: "its log is 'file:elsewhere', here it is 'file:log'",
    with_an_identity_that_is_none: "it was only half made",
    with_a_torn_identity: "it was only half made",
    cut_short: "its file part-3.sqlite3 is damaged",
    emptied: "its file part-0.sqlite3 is empty",
    overwritten: "its file part-5.sqlite3 is damaged",
    with_a_part_missing: "its file part-7.sqlite3 is missing",
    with_a_part_more: "it has more than 8 recovery files: part-8.sqlite3",
    without_recovery_files: "its file part-0.sqlite3 is missing",
    of_four_parts: "its file part-4.sqlite3 is missing",
    with_garbage_in_a_snapshot: "holds a state that cannot be read",
}


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.__name__)
def test_damaged_state_is_said_and_made_anew(left: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = tmp_path / "here"
    shutil.copytree(left, folder)
    spoil(folder / "state")

    said = finished(folder)

    assert DAMAGES[spoil] in said
    assert f"; {AGAIN}" in said
