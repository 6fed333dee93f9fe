"""The source of samples: a part decodes, deduplicates, cuts and sums up before anything is exchanged."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from kappawatt.ledger.bucket import Bucket, Verdict
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.inbox import Report
from kappawatt.stream.watermark import PartitionClock, combine
from kappawatt.units import FUTURE_SKEW_US, US_PER_S
from kappawatt.wire.decode import SampleDecoder
from kappawatt.wire.records import DeadLetter

from .names import BUCKETS, CONTROL, SHARDS, STATE_VERSION
from .outlet import Outbox
from .process import STOP, WATCHDOG, Gates, logged
from .readers import Batch, Reader
from .ticks import Item, Ticks

DRAIN_EPOCHS = 3
"""Epochs that a drain lets pass: rows are released in the one after their snapshot, zone rows one later."""

_BYTES_PER_EPOCH = 64 << 20
_REPORT_US = 60 * US_PER_S  # how often shards hear of the watermark: windows become final up to so much later
_LINGER = timedelta(milliseconds=50)
_AT_ONCE = timedelta(0)

OpenReader = Callable[[str, Any], Reader]
"""Bucket name and kept positions → its reader."""


class SampleSource(FixedPartitionedSource):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """All buckets of topic `sample`."""

    def __init__(
        self,
        config: LedgerConfig,
        open_reader: OpenReader,
        decoder: Callable[[], SampleDecoder],
        *,
        gates: Gates,
        until_end: bool,
        idle_us: int,
    ) -> None:
        self._config, self._open_reader, self._decoder = config, open_reader, decoder
        self._gates, self._until_end, self._idle_us = gates, until_end, idle_us

    def list_parts(self) -> list[str]:
        """The fixed buckets."""
        return list(BUCKETS)

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "SamplePart":
        """One bucket, at its kept place."""
        bucket = Bucket(self._config, self._decoder())
        positions, told = None, None
        outbox = Outbox()
        if resume_state is not None:
            _, positions, dumped, waiting, told = resume_state
            bucket.load(dumped)
            outbox = Outbox(*waiting)
            told = max(told or 0, _newest_possible_us())  # this bucket may have been idle or ended, others not
        reader = self._open_reader(for_part, positions)
        return SamplePart(for_part, reader, bucket, outbox, told, self._gates, self._until_end, self._idle_us)


class SamplePart(StatefulSourcePartition):  # type: ignore[misc]  # as above
    """One bucket as Bytewax polls it."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        bucket: Bucket,
        outbox: Outbox,
        told_us: int | None,
        gates: Gates,
        until_end: bool,
        idle_us: int,
    ) -> None:
        self._name, self._reader, self._bucket, self._outbox = name, reader, bucket, outbox
        self._told_us, self._gates, self._until_end = told_us, gates, until_end
        self._idle_us = 0 if until_end else idle_us
        self._clocks: dict[str, PartitionClock] = {}
        self._reported: tuple[bool, int | None] | None = None
        self._changed: set[str] = set()
        self._dead: list[DeadLetter] = []
        self._ticks = Ticks()
        self._fresh_epoch = True
        self._bytes_left = _BYTES_PER_EPOCH
        self._draining = DRAIN_EPOCHS
        self._ended = False
        self._end_epochs = 0
        self._awake = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<SamplePart {self._name} {self._bucket!r}>"

    @logged
    def next_batch(self) -> list[Item]:
        """Committed changes first, then one read's worth of frames."""
        out: list[Item] = []
        if self._fresh_epoch:
            self._fresh_epoch = False
            out.extend(self._ticks.begin())
            out.extend((self._name, outlet) for outlet in self._outbox.release())
        self._awake = datetime.now(UTC) + _LINGER
        if STOP.is_set():
            if self._draining <= 0:
                raise StopIteration
            return out
        if self._ended:
            return self._wait_for_commit(out)
        if self._bytes_left <= 0 or (self._until_end and not self._gates.is_open(CONTROL)):
            return out
        batches = self._reader.poll(self._newest)
        items = [item for batch in batches for item in self._take(batch)]
        if batches:
            self._awake = datetime.now(UTC) + _AT_ONCE
        items.extend(self._report())
        self._ticks.sent(items)
        return out + items

    def next_awake(self) -> datetime:
        """At once while there is more to read, else after a linger that lets batches grow."""
        return self._awake

    @logged
    def snapshot(self) -> Any:
        """Positions, dedupe ranges, counters, and the rows about them that are shown after the commit."""
        WATCHDOG.beat()  # every process has buckets, only one has the control part
        rows = [self._bucket.accounting(partition) for partition in sorted(self._changed)]
        self._outbox.put({"accounting": rows} if rows else {}, {}, self._dead)
        self._changed, self._dead = set(), []
        self._fresh_epoch, self._bytes_left = True, _BYTES_PER_EPOCH
        self._draining -= STOP.is_set()
        self._end_epochs += self._ended
        return (STATE_VERSION, self._reader.dump(), self._bucket.dump(), self._outbox.dump(), self._told_us)

    def close(self) -> None:
        """Close files and connections."""
        self._reader.close()

    def _take(self, batch: Batch) -> list[Item]:
        if batch.broken:
            self._bucket.add_dead(batch.partition, batch.broken, batch.after)
            self._dead.extend(batch.broken)
        self._note_idle_time()
        verdict = self._bucket.add(
            batch.partition,
            batch.raw,
            position=batch.position,
            append_us=batch.append_us,
            after=batch.after,
            watermark_us=self._told_us,
        )
        self._dead.extend(verdict.dead)
        self._changed |= {batch.partition, *verdict.homes}
        self._bytes_left -= len(batch.raw.buffer)
        count = self._bucket.partitions[batch.partition]
        if count.counted:
            self._clock(batch.partition).advance(count.newest_us)
        return _items(verdict)

    def _note_idle_time(self) -> None:
        """While shards hold us for idle, the others may have told them of any time up to now."""
        if self._reported is not None and self._reported[0]:
            self._told_us = max(self._told_us or 0, _newest_possible_us())

    def _newest(self, partition: str) -> int:
        count = self._bucket.partitions.get(partition)
        return count.newest_us if count else -(1 << 62)

    def _clock(self, partition: str) -> PartitionClock:
        clock = self._clocks.get(partition)
        if clock is None:
            count = self._bucket.partitions.get(partition)
            newest = count.newest_us if count and count.counted else None
            clock = self._clocks[partition] = PartitionClock(self._idle_us, newest)
        return clock

    def _report(self) -> list[Item]:
        """Tell the shards when the watermark passed a minute, idleness changed, or all is read."""
        now_us = time.monotonic_ns() // 1_000
        for partition in self._reader.partitions():
            clock = self._clock(partition)
            if self._reader.at_end(partition):
                clock.at_end(now_us)
            else:
                clock.busy()
        idle, watermark = combine(self._clocks, now_us)
        if self._until_end and idle:
            self._ended = True
            return [(shard, Report(self._name, None, ended=True)) for shard in SHARDS]
        state = (idle, None if watermark is None else watermark // _REPORT_US)
        if state == self._reported or (not idle and watermark is None):
            return []
        self._note_idle_time()
        self._reported = state
        if watermark is not None:
            self._told_us = max(self._told_us or 0, watermark)
        return [(shard, Report(self._name, watermark)) for shard in SHARDS]

    def _wait_for_commit(self, out: list[Item]) -> list[Item]:
        """After the end: set our mark once it is committed, and go when our rows are released."""
        if self._end_epochs >= 1:
            self._gates.open(self._name)
        if self._end_epochs >= DRAIN_EPOCHS:
            raise StopIteration
        return out


def _newest_possible_us() -> int:
    """The latest end that a sample can have by now."""
    return time.time_ns() // 1_000 + FUTURE_SKEW_US


def _items(verdict: Verdict) -> list[Item]:
    frames = [(SHARDS[shard], frame) for shard, frame in verdict.frames]
    return frames + [(SHARDS[shard], suspect) for shard, suspect in verdict.suspects]
