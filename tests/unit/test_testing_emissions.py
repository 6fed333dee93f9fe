"""The emissions job in the driver: the oracle's rows, in memory and in SQLite, whatever the driver chooses."""

from pathlib import Path
from typing import Any

import pytest

from kappawatt.emissions.names import KEYS
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.testing import EmissionsDriver, MemoryLog
from tests.flows.ledger_compare import differences
from tests.oracle.generate import small
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import encode, schema_of


def driver_over(content: Log, **options: Any) -> EmissionsDriver:
    driver = EmissionsDriver(**options)
    schema = schema_of("sample")
    for partition, records in content.samples.items():
        for record, append_us in zip(records, content.append_us[partition], strict=True):
            driver.log.append("sample", partition, encode(schema, record), append_us=append_us)
    return driver.prices(*content.intensity).events(*content.run_events)


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"seed": 2, "processes": 3}, {"keys": KEYS}], ids=repr)
def test_rows_are_the_oracles(options: dict[str, Any]) -> None:
    log = small(21)

    driver = driver_over(log, **options).until_end()

    assert differences(driver.store.open(), expected_tables(log)) == []
    assert driver.broken() == []


def test_rows_in_sqlite_are_the_oracles_after_crashes(tmp_path: Path) -> None:
    log = small(22)

    def store() -> SqliteStore:
        return SqliteStore(tmp_path / "store.db")

    driver = driver_over(log, open_store=store, log=MemoryLog(most=20))
    for _ in range(4):
        driver.run(3).poll()
        driver.restart()
    driver.until_end()

    assert differences(store(), expected_tables(log)) == []


def test_partitions_after_growth_stay_in_their_bucket() -> None:
    driver = EmissionsDriver()
    driver.samples("1", sample(seq=0)).run(3)

    driver.samples("3", sample(seq=1, start=MIDNIGHT + 1_000_000), sample(seq=0)).run(3)

    (first, second) = driver.rows("accounting")
    assert (first["counted"], first["duplicate"]) == (1, 0)
    assert (second["counted"], second["duplicate"]) == (1, 1)


def test_poison_is_listed_with_its_position() -> None:
    driver = EmissionsDriver()
    driver.log.append("sample", "0", b"nonsense", offset=7)
    driver.log.append("sample", "0", b"", broken="magic")

    driver.run(4)

    assert [(letter.source, letter.position, letter.reason) for letter in driver.letters] == [
        ("sample/0", "8", "magic"),
        ("sample/0", "7", "undecodable"),
    ]


def test_silent_partition_is_idle_after_its_time() -> None:
    driver = EmissionsDriver()
    hour = 3_600_000_000
    driver.samples("0", sample(seq=0), sample(seq=1, start=MIDNIGHT + hour)).samples("1").log.create("sample", "1")
    driver.run(4)
    before = [row["final"] for row in driver.rows("run_window_5s")]

    driver.advance(61_000_000).run(4)
    driver.samples("0", sample(seq=2, start=MIDNIGHT + hour + 1)).run(4)

    assert before == [False, False]
    assert [row["final"] for row in driver.rows("run_window_5s")] == [True, False]


def test_price_and_event_change_the_rows() -> None:
    driver = EmissionsDriver().samples("0", sample(energy_uj=[3_600_000_000]))
    driver.run(4)
    unpriced = driver.rows("run_total")[0]["unpriced_uj"]

    driver.prices(price()).events(event(pue=2.0)).run(4)

    assert unpriced == 3_600_000_000
    assert driver.rows("run_total")[0]["emissions_g"] == 0.001 * 2.0 * 100.0


def test_bucket_that_was_idle_before_a_start_lists_what_is_late_however_long_it_says_nothing() -> None:
    second = 1_000_000

    def at(instant_s: int, seq: int, collector: str) -> dict[str, Any]:
        start = MIDNIGHT + instant_s * second
        return sample(collector_id=collector, seq=seq, start=start, host=collector)

    driver = EmissionsDriver(config=LedgerConfig(lateness_us=10 * second), idle_us=600 * second)
    driver.samples("0", at(0, 0, "a")).samples("1", at(0, 0, "b")).run(4)
    driver.advance(601 * second).run(2)  # the shards hold both buckets for idle
    driver.log.create("sample", "2")  # for 600 s nobody knows of it whether it is idle: its bucket says nothing

    driver.restart().run(4)
    driver.advance(400 * second).samples("1", at(1_000, 1, "b")).run(4)
    driver.samples("0", at(950, 1, "a")).run(4)

    assert driver.rows("late")[0]["seq"] == 1
    assert driver.broken() == []
