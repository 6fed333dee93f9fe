"""A bucket that was idle, or whose flow was started again, names the samples that the shards may have evicted."""

from pathlib import Path

import pytest

from dataflows.names import BUCKETS
from dataflows.process import Gates
from dataflows.readers import FileReader
from dataflows.samples import SamplePart, SampleSource
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import Suspect
from tests.flows.flows import wait_for
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.write_log import write_files
from tests.unit.ledger_kit import Ledger, decoder

SECOND = 1_000_000


def bucket(log: Path, state=None, *, idle_us: int = 1) -> SamplePart:
    def reader(_, positions):
        return FileReader(log, "sample", lambda _: True, positions)

    source = SampleSource(LedgerConfig(), reader, decoder, gates=Gates(log), until_end=False, idle_us=idle_us)
    return source.build_part("samples", BUCKETS[0], state)


def write(log: Path, *numbers: int) -> None:
    records = [sample(seq=number, start=MIDNIGHT + number * SECOND) for number in numbers]
    write_files(Log(samples={"p": records}), log)


def suspects(part: SamplePart, count: int) -> list[int]:
    """The seqs of the suspects among the next *count* samples."""
    found = []
    wait_for(lambda: bool(found.extend(part.next_batch())) or frames(found) >= count, what="samples", limit_s=10)
    return [value.seq for _, value in found if isinstance(value, Suspect)]


def frames(items) -> int:
    return sum(int(value.usage["samples"].sum()) for _, value in items if hasattr(value, "usage"))


def test_bucket_that_wakes_up_suspects_its_first_samples(tmp_path: Path) -> None:
    part = bucket(tmp_path)
    wait_for(lambda: part.next_batch() is not None and part._reported == (True, None), what="idleness", limit_s=10)
    write(tmp_path, 0, 1, 2)

    assert suspects(part, 3) == [0, 1, 2]


def test_bucket_started_again_suspects_what_others_may_have_passed(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    part = bucket(tmp_path)
    assert suspects(part, 2) == []
    state = part.snapshot()
    write(tmp_path, 0, 1, 2)

    assert suspects(bucket(tmp_path, state, idle_us=60 * SECOND), 1) == [2]


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
