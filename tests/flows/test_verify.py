"""`verify` over a real flow's store: holds as it is, and names the first thing that somebody changed."""

import json
import sqlite3
from pathlib import Path

import pytest

from kappawatt import cli
from tests.flows.flows import Flow
from tests.oracle.generate import small
from tests.oracle.write_log import write_files


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder with a log, and the store that the flow made of it."""
    folder = tmp_path_factory.mktemp("verify")
    write_files(small(41), folder / "log", roll=20)
    Flow(log=f"file:{folder / 'log'}", store=f"sqlite:{folder / 'made.sqlite'}", state=folder / "state").run()
    return folder, (folder / "made.sqlite").read_bytes()


def verified(
    ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str], *statements: str, log: str = "log"
) -> tuple[int, dict]:
    """What `verify --json` says after those changes to the store."""
    folder, made = ledger
    path = folder / "changed.sqlite"
    path.write_bytes(made)
    with sqlite3.connect(path) as store:
        for statement in statements:
            assert store.execute(statement).rowcount == 1
    store.close()
    code = cli.main(["verify", "--json", "--log", f"file:{folder / log}", "--store", f"sqlite:{path}"])
    return code, json.loads(capsys.readouterr().out)


def said(answer: dict) -> list[str]:
    return [f"{each['about']}: {each['law']}: {each['left'] - each['right']}" for each in answer["broken"]]


def test_what_the_flow_made_holds(ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = verified(ledger, capsys)

    assert (code, answer["broken"], answer["note"]) == (0, [], "")
    assert answer["equations"] > 100


def test_changed_total_is_named(ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    change = "UPDATE run_total SET energy_uj = energy_uj + 7, gpu_uj = gpu_uj + 7 WHERE run_id = 'wide'"

    code, answer = verified(ledger, capsys, change)

    assert code == 1
    assert "run wide: Σ run_window_5s + late = total: -7" in said(answer)
    assert said(answer)[-1] == "run wide: Σ log = run_total.gpu_uj: -7"


def test_energy_moved_between_two_windows_is_found_where_all_sums_hold(
    ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    where = "run_id = 'wide' AND window_start = (SELECT {}(window_start) FROM run_window_5s WHERE run_id = 'wide')"
    moved = [
        f"UPDATE run_window_5s SET energy_uj = energy_uj - 3, gpu_uj = gpu_uj - 3 WHERE {where.format('min')}",
        f"UPDATE run_window_5s SET energy_uj = energy_uj + 3, gpu_uj = gpu_uj + 3 WHERE {where.format('max')}",
    ]

    code, answer = verified(ledger, capsys, *moved)

    assert code == 1
    (line,) = said(answer)
    assert line.startswith("run wide, window of 2025-03-01 23:")
    assert line.endswith("UTC: Σ log = run_window_5s.energy_uj: 3")


def test_changed_count_is_named(ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = ledger
    source = min(f"sample/{path.name.rpartition('-')[0]}" for path in (folder / "log/sample").iterdir())
    change = "UPDATE accounting SET {} WHERE source_partition = '{}'"

    code, answer = verified(ledger, capsys, change.format("counted = counted - 1, duplicate = duplicate + 1", source))

    assert code == 1
    assert said(answer) == [
        f"source partition {source}: counted in the log = counted: 1",
        f"source partition {source}: duplicate in the log = duplicate: -1",
    ]


def test_run_that_the_log_does_not_know_is_named(
    ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    change = "UPDATE run_total SET run_id = 'a stranger' WHERE run_id = 'wide'"

    code, answer = verified(ledger, capsys, change)

    assert code == 1
    assert [line for line in said(answer) if line.startswith("run a stranger: Σ log = run_total.gpu_uj: -")] != []


def test_store_that_has_read_less_is_held_to_what_it_has_read(
    ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = ledger
    longer = small(41)
    for records in longer.samples.values():
        records.extend(
            [{**each, "seq": 10**6 + number} for number, each in enumerate(records) if isinstance(each, dict)]
        )
    write_files(longer, folder / "longer", roll=20)

    code, answer = verified(ledger, capsys, log="longer")

    assert (code, answer["broken"], answer["note"]) == (0, [], "")


def test_log_that_lost_its_beginning_is_not_held_against_the_runs(
    ledger: tuple[Path, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = ledger
    write_files(small(41), folder / "cut", roll=20)
    first = min((folder / "cut/sample").iterdir())
    first.unlink()
    source = f"sample/{first.name.rpartition('-')[0]}"

    code, answer = verified(ledger, capsys, log="cut")

    assert code == 1
    assert {each["about"] for each in answer["broken"]} == {f"source partition {source}"}
    assert answer["note"] == f"the energy of runs is not counted again: the log no longer has all of {source}"
