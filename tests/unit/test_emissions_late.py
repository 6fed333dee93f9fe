"""A bucket that was idle, or whose flow was started again, names the samples that the shards may have evicted."""

from pathlib import Path

import pytest

from dataflows.readers import FileReader
from kappawatt.emissions import samples
from kappawatt.emissions.names import BUCKETS, CONTROL
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import Suspect
from kappawatt.stream.part import EpochPart
from kappawatt.testing.runtime import ManualRuntime
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.write_log import write_files
from tests.unit.ledger_kit import Ledger, decoder

SECOND = 1_000_000


class Bench:
    """One bucket over a file log, and the time that it sees."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.runtime = ManualRuntime(start_us=MIDNIGHT, gates={CONTROL})

    def part(self, state=None, *, idle_us: int = 1) -> EpochPart:
        def reader(_, positions):
            return FileReader(self.log, "sample", lambda _: True, positions)

        source = samples.source(
            LedgerConfig(), reader, decoder, self.runtime, bounded=False, final=False, idle_us=idle_us
        )
        return source.build(BUCKETS[0], state)


def write(log: Path, *numbers: int) -> None:
    records = [sample(seq=number, start=MIDNIGHT + number * SECOND) for number in numbers]
    write_files(Log(samples={"p": records}), log)


def suspects(part: EpochPart) -> list[int]:
    """The seqs of the suspects among what there is to read."""
    part.reading.reader._looked = float("-inf")
    return [value.seq for _, value in part.next_batch() if isinstance(value, Suspect)]


def test_bucket_that_wakes_up_suspects_its_first_samples(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    part = bench.part()
    part.next_batch()
    bench.runtime.advance(SECOND)
    part.next_batch()
    bench.runtime.advance(16 * 60 * SECOND)
    write(tmp_path, 0, 1, 2)

    assert suspects(part) == [0, 1, 2]


def test_bucket_started_again_suspects_what_others_may_have_passed(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    bench = Bench(tmp_path)
    part = bench.part()
    assert suspects(part) == []
    state = part.snapshot()
    write(tmp_path, 0, 1, 2)
    bench.runtime.advance(16 * 60 * SECOND)

    assert suspects(bench.part(state, idle_us=60 * SECOND)) == [2]


@pytest.mark.parametrize("together", [1, 4])
def test_suspects_of_one_batch_are_listed_each_for_itself(together: int) -> None:
    ledger = Ledger("a", "b")
    ledger.read(sample(seq=99, start=MIDNIGHT + 7_200 * SECOND), bucket="a", partition="sample/a")
    ledger.report(MIDNIGHT + 7_201 * SECOND, bucket="a").report(MIDNIGHT + 7_201 * SECOND, bucket="b").flush()
    records = [
        sample(seq=number, host="h2", run_id=f"r{number % 2 + 1}", start=MIDNIGHT + number * 7 * SECOND)
        for number in range(8)
    ]

    for first in range(0, len(records), together):
        ledger.read(*records[first : first + together], bucket="b", partition="sample/b")
    ledger.flush()

    assert [row["seq"] for row in ledger.table("late")] == [0, 2, 4, 6]
    missed = ledger.total("late", "late_5s_uj") + ledger.total("run_window_5s")
    assert missed == ledger.total("run_total") == 9_000_000
