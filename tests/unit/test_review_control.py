"""A long history of prices is taken in portions, so that epochs end."""

from pathlib import Path

from dataflows.control import ControlSource
from dataflows.names import CONTROL
from dataflows.process import WATCHDOG, Gates
from dataflows.readers import FileReader
from dataflows.steps import ShardStep
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.prices import Price
from tests.oracle.model import Log
from tests.oracle.records import event, price
from tests.oracle.write_log import write_files


def test_epoch_takes_no_more_batches_after_enough_records(tmp_path: Path) -> None:
    prices = [price(revision=number) for number in range(10_000)]
    write_files(Log(intensity=prices, run_events=[event()]), tmp_path)

    def reader(topic, positions):
        return FileReader(tmp_path, topic, lambda _: True, positions)

    source = ControlSource(reader, lambda _: None, gates=Gates(tmp_path), until_end=False)
    part = source.build_part("control", CONTROL, None)

    first = [*part.next_batch(), *part.next_batch()]
    part.snapshot()
    second = part.next_batch()

    assert {type(value) for _, value in first} == {str, Price}
    assert [value[0] for _, value in second if type(value) is tuple] == ["r1"]


def test_folded_shard_is_a_heartbeat() -> None:
    step = ShardStep(LedgerConfig(), None)
    before = WATCHDOG._last

    step.snapshot()

    assert before < WATCHDOG._last
