"""A long history of prices is taken in portions, so that epochs end."""

from pathlib import Path

from dataflows.readers import FileReader
from kappawatt.emissions import control
from kappawatt.emissions.names import CONTROL, SHARDS
from kappawatt.emissions.steps import ShardLogic
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.prices import Price
from kappawatt.testing.runtime import ManualRuntime
from tests.oracle.model import Log
from tests.oracle.records import event, price
from tests.oracle.write_log import write_files


def test_epoch_takes_no_more_batches_after_enough_records(tmp_path: Path) -> None:
    prices = [price(revision=number) for number in range(10_000)]
    write_files(Log(intensity=prices, run_events=[event()]), tmp_path)

    def reader(topic, positions):
        return FileReader(tmp_path, topic, lambda _: True, positions)

    source = control.source(LedgerConfig(), reader, lambda _: None, ManualRuntime(), bounded=False)
    part = source.build(CONTROL, None)

    first = [*part.next_batch(), *part.next_batch()]
    part.snapshot()
    second = part.next_batch()

    assert {type(value) for _, value in first} == {str, Price}
    assert [value[0] for _, value in second if type(value) is tuple] == ["r1"]


def test_samples_may_be_read_once_what_lay_there_is_read(tmp_path: Path) -> None:
    write_files(Log(intensity=[price()], run_events=[event()]), tmp_path)
    runtime = ManualRuntime()

    def reader(topic, positions):
        return FileReader(tmp_path, topic, lambda _: True, positions)

    part = control.source(LedgerConfig(), reader, lambda _: None, runtime, bounded=False).build(CONTROL, None)
    part.next_batch()
    assert not runtime.is_open(CONTROL)

    part.next_batch()

    assert runtime.is_open(CONTROL)


def test_folded_shard_is_a_heartbeat() -> None:
    runtime = ManualRuntime()

    ShardLogic(SHARDS[0], None, LedgerConfig(), runtime).fold()

    assert runtime.beats == 1
