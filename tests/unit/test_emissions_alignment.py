"""A catch-up over partitions of uneven length: no bucket reads far ahead, so few windows are open at a time."""

from kappawatt.testing import EmissionsDriver, MemoryLog
from kappawatt.testing.emissions import FEW
from tests.flows.ledger_compare import differences
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.truth import expected_tables
from tests.unit.test_testing_emissions import driver_over

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def every(partition: int, step_us: int) -> list[dict]:
    """Eight hours of a host, one sample of a second a step."""
    return [
        sample(collector_id=f"c{partition}", host=f"h{partition}", run_id=f"r{partition}", seq=number,
               start=MIDNIGHT + at)
        for number, at in enumerate(range(0, 8 * HOUR, step_us))
    ]  # fmt: skip


def two_hosts() -> Log:
    """One with few records an hour, and one with ten times as many: it is read at a tenth of the speed."""
    samples = {"0": every(0, 5 * MINUTE), "1": every(1, MINUTE // 2)}
    return Log(samples=samples, append_us={name: [MIDNIGHT + 9 * HOUR] * len(each) for name, each in samples.items()})


def newest(driver: EmissionsDriver) -> list[int]:
    parts = [part for name, part in driver.current.parts.items() if name.startswith("b")]
    return [part.reading.bucket.newest_us for part in parts]


def test_no_bucket_reads_far_ahead_and_rows_are_the_oracles() -> None:
    content = two_hosts()
    driver = driver_over(content, log=MemoryLog(most=2))
    apart, opened = [], []

    for _ in range(2_000):
        driver.run(polls=3)
        times = newest(driver)
        if min(times) >= MIDNIGHT:
            apart.append(max(times) - min(times))
        opened.append(open_windows(driver))
        if min(times) > MIDNIGHT + 8 * HOUR - 5 * MINUTE:
            break
    driver.until_end()

    assert max(apart) <= 45 * MINUTE
    assert max(opened) <= 60  # half of the sparse host's and little of the other's; 96 and more if it were read first
    assert differences(driver.store.open(), expected_tables(content)) == []


def open_windows(driver: EmissionsDriver) -> int:
    """Rows of 5 s that are still open, of all shards."""
    keepers = [logic for key, logic in driver.current._logics.items() if key in FEW.shards]
    return sum(len(keeper._logic._shard._windows[0]._hosts) for keeper in keepers)
