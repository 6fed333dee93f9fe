"""`verify` counts the log again also when a run was forgotten and came back under another name."""

from collections.abc import Iterator, Mapping
from typing import Any

from kappawatt.ledger.config import LedgerConfig
from kappawatt.recount import Piece
from kappawatt.testing import EmissionsDriver, MemoryLog
from kappawatt.units import US_PER_H
from kappawatt.verify import verify
from tests.oracle.records import MIDNIGHT, sample

CONFIG = LedgerConfig(horizon_us=6 * US_PER_H, close_us=2 * US_PER_H)


class Again:
    """A `LogReader` of all that a log in memory has."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def pieces(self, positions: Mapping[str, str]) -> Iterator[Piece]:
        reader = self._log.reader("sample", lambda name: f"sample/{name}" in positions, None, bounded=True)
        while batches := reader.poll(lambda _: 0):
            for batch in batches:
                yield Piece(batch.partition, 0, batch.raw, batch.append_us, len(batch.broken))

    def schemas(self, schema_id: int) -> Any:
        return None


def returned() -> EmissionsDriver:
    """A run of an hour, a day of another one, and then the first again."""
    driver = EmissionsDriver(config=CONFIG, idle_us=1_000 * US_PER_H)
    for seq, (hour, run_id) in enumerate([(0, "r"), *((hour, "long") for hour in range(1, 24)), (24, "r")]):
        start = MIDNIGHT + hour * US_PER_H
        driver.samples("0", sample(seq=seq, run_id=run_id, start=start, end=start + 1_000_000))
        driver.run(epochs=2)
    return driver.until_end()


def test_run_that_was_forgotten_and_came_again_is_counted_again_as_one() -> None:
    driver = returned()
    assert sorted(row["run_id"] for row in driver.rows("run_total")) == ["long", "r", "~/r"]

    checked = verify(driver.store.open(), log=Again(driver.log), config=CONFIG)

    assert checked.broken == []
    assert checked.note == ""


def test_what_it_lacks_is_seen_under_either_name() -> None:
    driver = returned()
    (row,) = (row for row in driver.rows("run_window_5s") if row["run_id"] == "~/r")
    store = driver.store.open()
    store.delete("run_window_5s", [("~/r", row["date"], row["window_start"])], row["version"])
    store.flush()

    broken = verify(store, log=Again(driver.log), config=CONFIG).broken

    assert any(one.about.startswith("run r, window of") for one in broken)
