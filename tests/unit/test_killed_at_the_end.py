"""What holds for one start of the flow only does not go on into the next, whatever the journal folds again."""

from typing import Any

from kappawatt.testing import EmissionsDriver
from kappawatt.wire.records import Sample


def sample(collector: str, seq: int, start_s: int) -> Sample:
    start = start_s * 1_000_000
    return Sample(
        collector_id=collector,
        seq=seq,
        host=f"host-{collector}",
        run_id=f"run-{collector}",
        zone="DE",
        start=start,
        end=start + 1_000_000,
        kind=(2,),
        method=(1,),
        energy_uj=(300_000_000,),
        device=("gpu:0",),
        utilization=(0.9,),
        temperature_c=(61.0,),
        memory_bytes=(-1,),
    )


class KilledAtTheEnd(EmissionsDriver):
    """A flow that was killed in `--until-end` when everything was final, and is started again to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.samples("0", sample("a", 0, 100)).samples("1", sample("b", 0, 100)).run(epochs=4)
        self.drain()
        self._until_end = True
        self.start()
        while not all(row["final"] for row in self.rows("run_window_5s")):
            self.run()
        self.crash()
        self._until_end = False
        self.start()


def final(driver: EmissionsDriver, table: str) -> dict[Any, bool]:
    return {row["window_start"] // 1_000_000: row["final"] for row in driver.rows(table)}


def test_rows_of_a_flow_that_goes_on_are_not_final_because_the_one_before_had_come_to_the_end() -> None:
    driver = KilledAtTheEnd()

    driver.samples("0", sample("a", 1, 160)).run(epochs=5)

    assert final(driver, "run_window_5s") == {100: True, 160: False}
    assert final(driver, "zone_window_1h") == {0: False}


def test_what_was_folded_again_is_not_folded_at_the_crash_after_it() -> None:
    driver = KilledAtTheEnd()
    driver.samples("0", sample("a", 1, 160)).run(epochs=3)
    driver.crash()
    driver.start()

    driver.samples("0", sample("a", 2, 170)).run(epochs=5)

    assert final(driver, "run_window_5s") == {100: True, 160: False, 170: False}
    assert driver.broken() == []
