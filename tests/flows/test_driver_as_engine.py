"""The driver and Bytewax run the same job over the same files: the same rows, and where it is determined, versions."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.engine import dataflow
from dataflows.homes import FileHome
from dataflows.sinks import OutletSink
from kappawatt.emissions.job import emissions_job
from kappawatt.emissions.names import SINK_PARTS
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stores.outlets import write_outlet
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stream.job import Job, Part, Runtime, Source
from kappawatt.testing import JobDriver, ManualRuntime
from kappawatt.wire.decode import SampleDecoder
from tests.flows.flows import Flow
from tests.oracle.generate import small
from tests.oracle.write_log import write_files

NOW_US = 4_000_000_000_000_000


class Eager:
    """A part that never waits, so that each is polled exactly once an epoch of no length."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def wait_s(self) -> float:
        return 0.0


def job_over(folder: Path, runtime: Runtime) -> Job:
    home = FileHome(folder)
    job = emissions_job(
        LedgerConfig(),
        runtime,
        open_bucket=home.bucket,
        open_topic=home.topic,
        decoder=lambda: SampleDecoder(home.schemas()),
        schema_of=home.schemas(),
        bounded=True,
        final=True,
        idle_us=0,
    )

    def eager(source: Source) -> Source:
        return replace(source, build=lambda name, state: Eager(source.build(name, state)))

    return replace(job, sources=tuple(map(eager, job.sources)))


def shown(store: Any, fence: int | None) -> dict[str, list[dict[str, Any]]]:
    """All rows; with their flush numbers instead of versions if *fence* is given, else without."""
    found = {}
    for table in TABLES:
        rows = [row | {"version": 0 if fence is None else row["version"] - fence} for row in store.scan(table)]
        found[table] = sorted(rows, key=repr)
    return found


TABLES = (
    "run", "run_total", "phase_total", "run_window_5s", "run_window_5m", "run_window_1h", "device_window_5m",
    "zone_window_1h", "run_metric", "runs_by_date", "intensity", "late", "restatement", "accounting",
)  # fmt: skip


class Letters:
    """Nowhere."""

    def write(self, letters: Any) -> None:
        self.last = letters

    def flush(self) -> None:
        self.last = None


@pytest.mark.parametrize("seed", [11, 12])
def test_rows_and_flush_numbers_are_those_of_bytewax(tmp_path: Path, seed: int) -> None:
    write_files(small(seed), tmp_path / "log")
    (tmp_path / "recovery").mkdir()
    init_db_dir(tmp_path / "recovery", 1)
    store = SqliteStore(tmp_path / "store.db")
    job = job_over(tmp_path / "log", ManualRuntime(start_us=NOW_US))

    run_main(
        dataflow(job, OutletSink(SINK_PARTS, lambda: (store, Letters()), write_outlet, NOW_US)),
        epoch_interval=timedelta(0),
        recovery_config=RecoveryConfig(str(tmp_path / "recovery")),
    )
    driver = JobDriver(lambda runtime: job_over(tmp_path / "log", runtime), start_us=NOW_US).to_end()

    assert shown(driver.store.open(), NOW_US) == shown(store, NOW_US)


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_are_those_of_the_command(tmp_path: Path, processes: int) -> None:
    write_files(small(13), tmp_path / "log")
    flow = Flow(log=f"file:{tmp_path / 'log'}", store=f"sqlite:{tmp_path / 'store.db'}", state=tmp_path / "state")

    flow.run(processes=processes)
    driver = JobDriver(
        lambda runtime: job_over(tmp_path / "log", runtime), start_us=NOW_US, seed=1, processes=processes
    ).to_end()

    assert shown(driver.store.open(), None) == shown(SqliteStore(tmp_path / "store.db", read_only=True), None)
