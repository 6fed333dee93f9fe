"""A quiet process of the flow that has no control part counts as alive."""

from pathlib import Path

from dataflows.process import WATCHDOG, Gates
from dataflows.readers import FileReader
from dataflows.samples import SampleSource
from kappawatt.ledger.config import LedgerConfig
from tests.unit.ledger_kit import decoder


def test_snapshot_of_a_bucket_without_data_is_a_heartbeat(tmp_path: Path) -> None:
    def reader(bucket, positions):
        return FileReader(tmp_path, "sample", lambda _: True, positions)

    source = SampleSource(LedgerConfig(), reader, decoder, gates=Gates(tmp_path), until_end=False, idle_us=1)
    part = source.build_part("samples", "b00", None)
    before = WATCHDOG._last

    part.snapshot()

    assert before < WATCHDOG._last
