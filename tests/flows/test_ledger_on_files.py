"""The main job over Avro files into SQLite, held against the oracle: every table, every column."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from kappawatt.stores import open_store
from tests.flows.flows import Flow, kill, rows_of, wait_for
from tests.flows.ledger_compare import differences
from tests.oracle.generate import small
from tests.oracle.model import DAY, Dead, Log
from tests.oracle.records import MIDNIGHT
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import write_files


def flow_over(log: Log, folder: Path) -> Flow:
    write_files(log, folder / "log")
    return Flow(log=f"file:{folder / 'log'}", store=f"sqlite:{folder / 'ledger.sqlite'}", state=folder / "state")


def differing(flow: Flow, log: Log, *, but: str = "") -> list[str]:
    """What differs from the oracle, in all tables but one."""
    store = open_store(flow.store)
    try:
        return differences(store, {name: rows for name, rows in expected_tables(log).items() if name != but})
    finally:
        store.close()


@pytest.mark.parametrize(("seed", "processes"), [(1, 1), (2, 2), (3, 3), (4, 1)])
def test_store_equals_the_oracle(tmp_path: Path, seed: int, processes: int) -> None:
    log = small(seed)
    flow = flow_over(log, tmp_path)

    flow.run(processes=processes)

    assert differing(flow, log) == []


def test_second_run_over_the_same_log_changes_nothing(tmp_path: Path) -> None:
    log = small(5)
    flow = flow_over(log, tmp_path)
    flow.run()

    flow.run(processes=2)

    assert differing(flow, log) == []


def test_later_run_goes_on_over_a_longer_log(tmp_path: Path) -> None:
    log = small(6)
    first = replace(
        log,
        samples={name: records[: len(records) // 2] for name, records in log.samples.items()},
        intensity=log.intensity[: len(log.intensity) // 2],
        run_events=log.run_events[: len(log.run_events) // 2],
        append_us=None,
    )
    flow = flow_over(first, tmp_path)
    flow.run()

    write_files(log, tmp_path / "log")  # the same files, longer
    flow.run()

    assert differing(flow, log, but="restatement") == []  # which tells what the first run showed


def without_expired(log: Log) -> Log:
    """The log without what is too old for a flow, but not for a rebuild (tests/flows/test_rebuild.py)."""
    kept = {
        name: [record for record in records if isinstance(record, Dead) or record["end"] > MIDNIGHT - 20 * DAY]
        for name, records in log.samples.items()
    }
    times = {name: [MIDNIGHT + DAY] * len(records) for name, records in kept.items()}
    return replace(log, samples=kept, append_us=times)


def test_rebuild_gives_the_same_rows(tmp_path: Path) -> None:
    log = without_expired(small(7))
    flow = flow_over(log, tmp_path)
    flow.run()

    flow.run("--rebuild")

    assert differing(flow, log) == []


def test_lost_state_is_rebuilt_from_the_log(tmp_path: Path) -> None:
    log = without_expired(small(8))
    flow = flow_over(log, tmp_path)
    flow.run()
    (flow.state / "identity.json").unlink()

    flow.run()

    assert differing(flow, log) == []


def test_drained_live_flow_is_finished_by_a_bounded_run(tmp_path: Path) -> None:
    log = small(9)
    flow = flow_over(log, tmp_path)
    live = flow.start(until_end=False, processes=2)
    try:
        wait_for(lambda: bool(rows_of(flow, "run_total")), what="first totals")
        live.send_signal(signal.SIGTERM)
        assert live.wait(60) == 0
    finally:
        kill(live)

    flow.run()

    assert differing(flow, log) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_flow_goes_on_exactly(tmp_path: Path, processes: int) -> None:
    log = small(10)
    flow = flow_over(log, tmp_path)
    for table in ("accounting", "run_window_5s", "zone_window_1h"):
        dying = flow.start(processes=processes)
        try:
            wait_for(lambda table=table: bool(rows_of(flow, table)), what=f"a row in {table}")
        finally:
            kill(dying)

    flow.run(processes=3 - processes)

    assert differing(flow, log) == []
