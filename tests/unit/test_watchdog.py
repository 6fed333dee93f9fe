"""A quiet process of the flow that has no control part counts as alive."""

from pathlib import Path

from dataflows.process import WATCHDOG, Gates, Process
from dataflows.readers import FileReader
from kappawatt.emissions import samples
from kappawatt.emissions.names import BUCKETS
from kappawatt.ledger.config import LedgerConfig
from tests.unit.ledger_kit import decoder


def test_snapshot_of_a_bucket_without_data_is_a_heartbeat(tmp_path: Path) -> None:
    def reader(bucket, positions):
        return FileReader(tmp_path, "sample", lambda _: True, positions)

    process = Process(Gates(tmp_path))
    part = samples.source(LedgerConfig(), reader, decoder, process, bounded=False, final=False, idle_us=1).build(
        BUCKETS[0], None
    )
    before = WATCHDOG._last

    part.snapshot()

    assert before < WATCHDOG._last
