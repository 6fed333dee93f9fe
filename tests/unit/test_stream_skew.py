"""The failures of clock-driven event time, replayed: nothing is lost, nothing is given twice, all totals are right.

With watermarks that follow the wall clock, each of these makes samples of an orderly log late or replaces a right row
by a wrong one (ADR on the ledger in the flow). Here time comes from events alone, so a stall costs freshness only.
"""

import pytest

from kappawatt.stream.watermark import PartitionClock, combine
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import WINDOWS, Ledger

SECOND = 1_000_000
TENTH = SECOND // 10
IDLE_US = 2 * SECOND
LATENESS = 2 * SECOND
ENERGY = 7


def ten_a_second(first, last, *, host="h1", step=TENTH):
    """Samples of a host in seconds [first, last), in order."""
    return [
        sample(
            collector_id=f"c-{host}",
            host=host,
            seq=at // step,
            start=MIDNIGHT + at,
            end=MIDNIGHT + at + step,
            energy_uj=[ENERGY],
        )
        for at in range(first * SECOND, last * SECOND, step)
    ]


class Reader:
    """Reads partitions of one bucket as the dataflow does, at instants that the test gives; *now* is any clock's."""

    def __init__(self, **partitions):
        self.ledger = Ledger(lateness_us=LATENESS)
        self.waiting = partitions
        self.clocks = {name: PartitionClock(IDLE_US) for name in partitions}

    def read(self, now, *, most=None, only=None):
        """Take up to *most* samples of each partition (or of one), tell the shards how far all have come, flush."""
        for name, records in self.waiting.items():
            taken = records[:most] if only in (None, name) else []
            self.ledger.read(*taken, partition=name)
            del records[: len(taken)]
            if taken:
                self.clocks[name].advance(max(record["end"] for record in taken))
            if not records and only in (None, name):
                self.clocks[name].at_end(now)
        idle, watermark = combine(self.clocks, now)
        if idle or watermark is not None:
            self.ledger.report(None if idle else watermark)
        self.ledger.flush()

    def come(self, name, records):
        """More is appended to a partition."""
        self.waiting[name] += records


def check(ledger, samples):
    """All samples are in every width, none is late, and each sum is right."""
    ledger.end()
    assert ledger.table("late") == []
    assert ledger.only("run_total")["samples"] == samples
    assert [ledger.total(table) for table in (*WINDOWS, "run_total")] == [samples * ENERGY] * 4


def test_stall_in_the_middle_loses_nothing():
    reader = Reader(p=ten_a_second(0, 20))

    reader.read(0, most=100)
    reader.read(30 * SECOND)  # nothing was read for half a minute

    check(reader.ledger, 200)


def test_processing_slower_than_real_time_loses_nothing():
    reader = Reader(p=ten_a_second(0, 40))

    for step in range(80):
        reader.read(step * SECOND * 6 // 10, most=5)  # half a second of samples takes 0.6 s

    check(reader.ledger, 400)


@pytest.mark.parametrize("behind", ["a", "b"])
def test_partition_read_5_s_behind_the_other_loses_nothing(behind):
    ahead = "b" if behind == "a" else "a"
    reader = Reader(a=ten_a_second(0, 20, host="ha"), b=ten_a_second(0, 20, host="hb"))

    reader.read(0, most=50, only=ahead)
    for second in range(20):
        reader.read(second * TENTH, most=10)

    check(reader.ledger, 400)


def test_partition_read_whole_before_the_other_loses_nothing():
    reader = Reader(a=ten_a_second(0, 60, host="ha", step=SECOND), b=ten_a_second(0, 60, host="hb", step=SECOND))

    reader.read(0, only="a")
    for second in range(60):
        reader.read(second, most=1, only="b")

    check(reader.ledger, 120)


def test_crash_and_resume_inside_an_open_window_loses_nothing():
    reader = Reader(p=ten_a_second(0, 12))
    reader.read(0, most=113)

    reader.ledger.restart()
    reader.clocks["p"] = PartitionClock(IDLE_US)
    reader.come("p", ten_a_second(12, 22))
    reader.read(60 * SECOND)  # 8 s of down time or a minute: the backlog is as it was written

    check(reader.ledger, 220)


def test_straggler_behind_closed_windows_is_listed_and_replaces_nothing():
    reader = Reader(p=ten_a_second(0, 20))
    straggler = reader.waiting["p"].pop(30)  # in window 0
    reader.read(0)
    closed = [row for row in reader.ledger.table("run_window_5s") if row["final"]]
    assert [row["energy_uj"] for row in closed] == [49 * ENERGY, 50 * ENERGY, 50 * ENERGY]

    reader.come("p", [straggler])
    reader.read(9 * SECOND)

    assert reader.ledger.table("run_window_5s")[:3] == closed
    late = reader.ledger.only("late")
    assert (late["seq"], late["late_5s_uj"], late["late_5m_uj"]) == (straggler["seq"], ENERGY, 0)
    assert reader.ledger.only("run_total")["samples"] == 200


def test_straggler_after_a_silence_in_which_all_was_idle_is_listed_too():
    reader = Reader(p=ten_a_second(0, 20))
    straggler = reader.waiting["p"].pop(30)
    reader.read(0)
    reader.read(10 * SECOND)  # silent at its end: idle

    reader.come("p", [straggler])
    reader.read(11 * SECOND)
    reader.ledger.end()

    assert reader.ledger.only("late")["seq"] == straggler["seq"]
    assert reader.ledger.total("run_window_5s") + ENERGY == reader.ledger.total("run_total") == 200 * ENERGY


def test_idle_partition_holds_no_window_open():
    reader = Reader(a=ten_a_second(0, 20), b=[])

    reader.read(0)
    assert not any(row["final"] for row in reader.ledger.table("run_window_5s"))
    reader.read(3 * SECOND)
    reader.come("a", ten_a_second(20, 21))
    reader.read(4 * SECOND)

    assert [row["final"] for row in reader.ledger.table("run_window_5s")] == [True, True, True, False, False]


def test_partition_that_wakes_with_old_samples_of_its_own_run_is_not_late():
    reader = Reader(a=ten_a_second(0, 20), b=[])
    reader.read(0)
    reader.read(3 * SECOND)

    old = [record | {"run_id": "r2"} for record in ten_a_second(0, 10, host="hb")]
    reader.come("b", old)
    reader.read(4 * SECOND, most=10)
    reader.read(5 * SECOND)
    reader.ledger.end()

    assert reader.ledger.table("late") == []
    assert [row["energy_uj"] for row in reader.ledger.table("run_window_5s", run_id="r2")] == [50 * ENERGY] * 2
