"""Event time while everything is silent: what the parts tell the shards, and what becomes of runs by it."""

from pathlib import Path

from dataflows.readers import FileReader
from kappawatt.emissions import control, samples
from kappawatt.emissions.names import BUCKETS, CONTROL, SHARDS
from kappawatt.emissions.steps import ShardLogic
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.routing import shard_of
from kappawatt.stream.part import EpochPart
from kappawatt.testing.runtime import ManualRuntime
from kappawatt.units import FUTURE_SKEW_US
from tests.oracle.model import Log, Record
from tests.oracle.records import MIDNIGHT, event, sample
from tests.oracle.write_log import write_files
from tests.unit.ledger_kit import decoder

SECOND = 1_000_000
MINUTE = 60 * SECOND
IDLE = 10 * SECOND


class Flow:
    """All parts over one file log, and the shard of run r1."""

    def __init__(self, log: Path, records: Log) -> None:
        write_files(records, log)
        self.runtime = ManualRuntime(start_us=MIDNIGHT + 2 * MINUTE)
        self.shown: dict[str, dict[str, object]] = {}
        self.dead: list[str] = []
        buckets = samples.source(
            LedgerConfig(),
            lambda name, at: FileReader(log, "sample", lambda _: name == BUCKETS[0], at),
            decoder,
            self.runtime,
            bounded=False,
            final=False,
            idle_us=IDLE,
        )
        topics = control.source(
            LedgerConfig(),
            lambda topic, at: FileReader(log, topic, lambda _: True, at),
            lambda _: None,
            self.runtime,
            bounded=False,
        )
        self.parts: list[EpochPart] = [topics.build(CONTROL, None), *(buckets.build(name, None) for name in BUCKETS)]
        self.shard_key = SHARDS[shard_of("r1", len(SHARDS))]
        self.shard = ShardLogic(self.shard_key, None, LedgerConfig(), self.runtime)

    def epochs(self, count: int) -> "Flow":
        """So many epochs, a second each."""
        for _ in range(count):
            self.runtime.advance(SECOND)
            values = [value for part in self.parts for key, value in part.next_batch() if key == self.shard_key]
            for _, outlet in self.shard.on_batch(values):
                for table, rows in getattr(outlet, "rows", {}).items():
                    self.shown.setdefault(table, {}).update((row[0], row) for row in rows)
                self.dead += [letter.reason for letter in getattr(outlet, "dead", [])]
            for each in (*self.parts, self.shard):
                each.snapshot()
        return self

    @property
    def status(self) -> object:
        """Of run r1, in the store."""
        return self.shown["run"]["r1"][1]


def log_of(*events: Record) -> Log:
    return Log(samples={"p": [sample(end=MIDNIGHT + MINUTE, start=MIDNIGHT)]}, run_events=list(events))


def test_run_on_the_only_host_is_lost_when_all_has_been_silent_for_long_enough(tmp_path: Path) -> None:
    flow = Flow(tmp_path, log_of(event(type="start"))).epochs(30)
    assert flow.status == "running"

    flow.runtime.advance(15 * MINUTE)
    flow.epochs(3)
    assert flow.status == "running"

    flow.runtime.advance(FUTURE_SKEW_US + IDLE)
    flow.epochs(3)
    assert flow.status == "lost"


def test_parts_speak_of_time_once_a_minute(tmp_path: Path) -> None:
    flow = Flow(tmp_path, log_of()).epochs(30)

    told = []
    for _ in range(180):
        flow.runtime.advance(SECOND)
        told += [(key, value) for part in flow.parts for key, value in part.next_batch() if isinstance(value, Report)]
        for part in flow.parts:
            part.snapshot()

    of_one = [value for key, value in told if value.bucket == BUCKETS[3] and key == SHARDS[0]]
    assert len(of_one) == 3
    assert all(value.watermark_us is None and value.read_us is not None for value in of_one)
    assert len([1 for key, value in told if value.bucket == CONTROL and key == SHARDS[0]]) == 3


def test_event_from_the_future_is_rejected(tmp_path: Path) -> None:
    ahead = event(event_id="e2", at=1 << 60)
    flow = Flow(tmp_path, log_of(event(type="start"), ahead))

    part = flow.parts[0]
    part.next_batch()
    part.snapshot()
    dead = [letter.reason for _, outlet in part.next_batch() for letter in getattr(outlet, "dead", [])]

    assert dead == ["ahead_of_log"]
