"""`flow --rebuild`: late samples may be on time, expired ones count, and nothing of the earlier life is left over."""

import signal
from pathlib import Path

from dataflows.rebuild import sweep
from kappawatt.stores import open_store
from kappawatt.verify import verify
from tests.flows.flows import Flow, kill, rows_of, wait_for
from tests.flows.ledger_compare import differences
from tests.oracle.model import DAY, Log, Parameters
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import write_files

SECOND = 1_000_000
HOUR = 3_600 * SECOND
FLAGS = ("--idle-s", "1")


def ticks(host: str, first: int, count: int, *, seq: int = 0):
    """*count* samples of 1 s from *first* s after midnight on."""
    return [
        sample(host=host, collector_id=host, seq=seq + at, start=MIDNIGHT + (first + at) * SECOND)
        for at in range(count)
    ]


def flow_over(log: Log, folder: Path) -> Flow:
    write_files(log, folder / "log")
    store = f"sqlite:{folder / 'ledger.sqlite'}"
    return Flow(log=f"file:{folder / 'log'}", store=store, state=folder / "state", flags=FLAGS)


def counted(flow: Flow) -> int:
    return sum(int(row["counted"]) for row in rows_of(flow, "accounting"))


def live(flow: Flow, folder: Path, *logs: Log) -> None:
    """A flow that runs while the logs are written, one after the other, each when the one before is counted."""
    running = flow.start(until_end=False)
    try:
        expected = 0
        for log in logs:
            write_files(log, folder / "log")
            expected = sum(len(records) for records in log.samples.values())
            wait_for(lambda expected=expected: counted(flow) == expected, what="the samples to be counted")
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    finally:
        kill(running)


def broken_laws(flow: Flow) -> list[str]:
    store = open_store(flow.store, read_only=True)
    try:
        return [str(each) for each in verify(store).broken]
    finally:
        store.close()


def test_what_was_late_live_is_on_time_in_a_rebuild(tmp_path: Path) -> None:
    ahead = {"a": [*ticks("a", 0, 5), *ticks("a", 7_200, 5, seq=5)]}
    behind = {**ahead, "b": ticks("b", 10, 5)}
    flow = flow_over(Log(), tmp_path)
    live(flow, tmp_path, Log(samples=ahead), Log(samples=behind))
    assert {row["seq"] for row in rows_of(flow, "late")} == {0, 1, 2, 3, 4}
    assert broken_laws(flow) == []

    flow.run("--rebuild")

    assert rows_of(flow, "late") == []
    store = open_store(flow.store, read_only=True)
    assert differences(store, expected_tables(Log(samples=behind), Parameters(lateness_us=DAY))) == []
    store.close()


def test_live_rebuild_goes_on_with_what_is_appended(tmp_path: Path) -> None:
    flow = flow_over(Log(samples={"a": ticks("a", 0, 50)}), tmp_path)
    flow.run()
    (flow.state / "identity.json").unlink()

    live(flow, tmp_path, Log(samples={"a": ticks("a", 0, 80)}))

    assert not (flow.state / "rebuild.json").exists()
    assert broken_laws(flow) == []
    assert sum(int(row["energy_uj"]) for row in rows_of(flow, "run_total")) == 80 * 1_000_000


def test_killed_rebuild_is_finished_by_the_next_start(tmp_path: Path) -> None:
    flow = flow_over(Log(samples={"a": ticks("a", 0, 50)}), tmp_path)
    flow.run()
    dying = flow.start("--rebuild")
    wait_for(lambda: (flow.state / "identity.json").exists() and (flow.state / "rebuild.json").exists(), what="begin")
    kill(dying)

    flow.run()

    assert not (flow.state / "rebuild.json").exists()
    assert broken_laws(flow) == []


def test_expired_samples_count_in_a_rebuild(tmp_path: Path) -> None:
    old = ticks("a", 0, 3, seq=100)
    log = Log(samples={"a": [*ticks("a", 20 * 86_400, 5), *old]})
    flow = flow_over(log, tmp_path)
    flow.run()
    assert [(row["counted"], row["rejected"]) for row in rows_of(flow, "accounting")] == [(5, 3)]

    flow.run("--rebuild")

    assert [(row["counted"], row["rejected"]) for row in rows_of(flow, "accounting")] == [(8, 0)]
    assert [int(row["energy_uj"]) for row in rows_of(flow, "run_total")] == [8_000_000]
    assert broken_laws(flow) == []


def test_rows_that_lie_before_the_log_stay(tmp_path: Path) -> None:
    flow = flow_over(Log(samples={"a": ticks("a", 0, 5), "b": ticks("b", 7_200, 5)}), tmp_path)
    flow.run()
    (
        tmp_path
        / "log"
        / "sample"
        / next(p.name for p in (tmp_path / "log" / "sample").iterdir() if p.name.startswith("a"))
    ).unlink()

    flow.run("--rebuild")

    kept = [row["window_start"] for row in rows_of(flow, "run_window_5s")]
    assert min(kept) == MIDNIGHT
    assert min(row["window_start"] for row in rows_of(flow, "zone_window_1h")) == MIDNIGHT


def test_lost_state_is_not_rebuilt_from_half_a_log(tmp_path: Path) -> None:
    flow = flow_over(Log(samples={"a": ticks("a", 0, 50)}), tmp_path)
    flow.run()
    first = tmp_path / "log" / "sample" / "a-000000.avro"
    first.rename(first.with_name("a-000003.avro"))
    (flow.state / "identity.json").unlink()

    refused = flow.start()

    assert refused.wait(30) == 1
    assert sum(int(row["energy_uj"]) for row in rows_of(flow, "run_total")) == 50 * 1_000_000


def test_sweep_leaves_runs_that_the_rebuild_did_not_meet(tmp_path: Path) -> None:
    flow = flow_over(Log(samples={"a": ticks("a", 0, 5)}), tmp_path)
    flow.run()
    store = open_store(flow.store)
    newer = store.raise_fence(0)

    assert sweep(store, newer) == {}
    assert len(rows_of(flow, "run_window_5s")) == 1
    store.close()
