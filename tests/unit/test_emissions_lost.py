"""A loss is booked in one partition only: rows of the others are shown again when it moves or is made good."""

from pathlib import Path

from dataflows.readers import FileReader
from kappawatt.emissions import samples
from kappawatt.emissions.names import BUCKETS, CONTROL
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stream.part import EpochPart
from kappawatt.testing.runtime import ManualRuntime
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.write_log import write_files
from tests.unit.ledger_kit import decoder


def bucket(log: Path) -> EpochPart:
    def reader(_, positions):
        return FileReader(log, "sample", lambda _: True, positions)

    runtime = ManualRuntime(gates={CONTROL})
    source = samples.source(LedgerConfig(), reader, decoder, runtime, bounded=False, final=False, idle_us=1)
    return source.build(BUCKETS[0], None)


def shown(part: EpochPart, folder: Path, name: str, *numbers: int) -> dict[str, int]:
    """`lost` by partition in the rows that reading some more of a partition makes."""
    records = [sample(seq=number, start=MIDNIGHT + number * 1_000_000) for number in numbers]
    write_files(Log(samples={name: records}), folder)
    part.reading.reader._looked = float("-inf")
    part.next_batch()
    part.snapshot()
    (outlet,) = part.outbox.release()
    return {row[0]: row[6] for row in outlet.rows["accounting"]}


def test_lost_moves_with_the_home_of_its_collector(tmp_path: Path) -> None:
    part = bucket(tmp_path)
    assert shown(part, tmp_path, "9", 0, 5) == {"sample/9": 4}

    assert shown(part, tmp_path, "25", 6) == {"sample/25": 4, "sample/9": 0}


def test_what_another_partition_makes_good_is_no_longer_lost(tmp_path: Path) -> None:
    part = bucket(tmp_path)
    assert shown(part, tmp_path, "1", 0, 5) == {"sample/1": 4}

    assert shown(part, tmp_path, "17", 1, 2, 3) == {"sample/1": 1, "sample/17": 0}
