"""Reading of samples: a bucket decodes, deduplicates, cuts and sums up before anything is exchanged."""

import math
from collections.abc import Callable
from typing import Any

from kappawatt.emissions.names import CONTROL, KEYS, STATE_VERSION, Keys
from kappawatt.emissions.reading import Batch, OpenReader, Reader
from kappawatt.ledger.bucket import Bucket
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.inbox import Report
from kappawatt.stream.alignment import Alignment
from kappawatt.stream.job import Item, Runtime, Source
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.part import DRAIN_EPOCHS, EpochPart
from kappawatt.stream.ticks import Ticks
from kappawatt.stream.watermark import PartitionClock, combine
from kappawatt.units import FUTURE_SKEW_US, US_PER_S
from kappawatt.wire.decode import SampleDecoder
from kappawatt.wire.records import DeadLetter

_BYTES_PER_EPOCH = 128 << 20  # of all buckets of a process together
_AHEAD_US = 2 * 60 * US_PER_S  # what one bucket reads ahead of another is open windows in the shards' state
_LETTER_BYTES = 1_000  # what a letter costs beside its payload, until it is written
_REPORT_US = 60 * US_PER_S  # how often shards hear of the watermark: windows become final up to so much later
_LINGER_S = 0.05
_BEHIND_US = 2 * US_PER_S  # records that have lain in the log for so long are a backlog


def source(
    config: LedgerConfig,
    open_reader: OpenReader,
    decoder: Callable[[], SampleDecoder],
    runtime: Runtime,
    *,
    bounded: bool,
    final: bool,
    idle_us: int,
    keys: Keys = KEYS,
) -> Source:
    """All buckets of topic `sample`.

    Args:
        config: The numbers that decide about rows.
        open_reader: Opens the reader of a bucket.
        decoder: Makes a decoder; each bucket has its own codes.
        runtime: The process.
        bounded: Read the log to where it ends at the start, and go.
        final: Then everything is final; without it the end is only a place to go on from.
        idle_us: How long a partition is silent at its end until it holds nobody back.
        keys: The keys of the job.
    """
    alignment = Alignment(limit_bytes=_BYTES_PER_EPOCH, ahead_us=_AHEAD_US)

    def build(name: str, state: Any) -> EpochPart:
        bucket, outbox, positions, told = Bucket(config, decoder()), Outbox(), None, None
        if state is not None:
            (_, positions, dumped, told), waiting = state
            bucket.load(dumped)
            outbox = Outbox(*waiting)
            # This bucket may have been idle or ended and the others not: shards can have been told of any time.
            told = max(told or 0, runtime.now_us() + FUTURE_SKEW_US)
        reading = SampleReading(
            name, open_reader(name, positions), bucket, told, runtime, alignment, bounded, final, idle_us, keys
        )
        return EpochPart(name, reading, Ticks(keys.shards, keys.zones), outbox, runtime)

    return Source("samples", keys.buckets, build)


class SampleReading:
    """One bucket: what it reads, and what it tells the shards about time."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        bucket: Bucket,
        told_us: int | None,
        runtime: Runtime,
        alignment: Alignment,
        bounded: bool,
        final: bool,
        idle_us: int,
        keys: Keys = KEYS,
    ) -> None:
        self._name, self.reader, self.bucket, self._runtime = name, reader, bucket, runtime
        self._alignment = alignment
        self.told_us, self._bounded, self._final = told_us, bounded, final
        self._shards, self._resumed = keys.shards, told_us is not None
        self._idle_us = 0 if bounded else idle_us
        self._clocks: dict[str, PartitionClock] = {}
        self._reported: tuple[bool, int] | None = None
        self._changed: set[str] = set()
        self._dead: list[DeadLetter] = []
        self._bytes = 0
        self._ended = False
        self._has_backlog = True  # until something is read
        self._wait_s = 0.0

    def __repr__(self) -> str:
        return f"<SampleReading {self._name} {self.bucket!r}>"

    def read(self) -> list[Item]:
        """One read's worth of frames; nothing before the control records that were there first."""
        self._wait_s = _LINGER_S
        now_us = self._runtime.monotonic_us()
        if not self._runtime.is_open(CONTROL) or not self._alignment.may_read(self._name, now_us):
            return []
        batches = self.reader.poll(self._newest)
        items = [item for batch in batches for item in self._take(batch)]
        come_to = self._come_to()
        self._alignment.note(self._name, come_to, self._bytes, now_us)
        self._bytes = 0
        if batches:
            self._wait_s = 0.0
            self._has_backlog = any(self._is_backlog(batch) for batch in batches)
        elif come_to is None or not self._has_backlog:
            self._wait_s = math.inf
        return items + self._report()

    def fix(self, outbox: Outbox) -> Any:
        """Positions, dedupe ranges, counters, and the rows about them that are shown after the commit."""
        rows = [self.bucket.accounting(partition) for partition in sorted(self._changed)]
        outbox.put({"accounting": rows} if rows else {}, {}, self._dead)
        self._changed, self._dead = set(), []
        self._alignment.end_epoch(self._name)
        return (STATE_VERSION, self.reader.dump(), self.bucket.dump(), self.told_us)

    def wait_s(self) -> float:
        """Nothing while there is more to read, soon while others must read first or a backlog is on its way here."""
        return self._wait_s

    def ended(self) -> bool:
        """Whether all of a bounded log was read."""
        return self._ended

    def may_go(self, epochs: int) -> bool:
        """Set our mark once the end is committed, and go when our rows are released."""
        if epochs >= 1:
            self._runtime.open(self._name)
        return epochs >= DRAIN_EPOCHS

    def close(self) -> None:
        """Close files and connections."""
        self.reader.close()

    def _take(self, batch: Batch) -> list[Item]:
        self._dead.extend(batch.gone)
        if batch.broken:
            self.bucket.add_dead(batch.partition, batch.broken, batch.after)
            self._dead.extend(batch.broken)
        self._note_idle_time()
        verdict = self.bucket.add(
            batch.partition,
            batch.raw,
            position=batch.position,
            append_us=batch.append_us,
            after=batch.after,
            watermark_us=self.told_us,
        )
        self._dead.extend(verdict.dead)
        self._changed |= {batch.partition, *verdict.homes}
        self._bytes += len(batch.raw.buffer) + _LETTER_BYTES * (len(batch.broken) + len(verdict.dead))
        count = self.bucket.partitions[batch.partition]
        if count.counted:
            self._clock(batch.partition).advance(count.newest_us)
        frames = [(self._shards[shard], frame) for shard, frame in verdict.frames]
        return frames + [(self._shards[shard], suspect) for shard, suspect in verdict.suspects]

    def _is_backlog(self, batch: Batch) -> bool:
        newest_us = int(batch.append_us[-1]) if len(batch.append_us) else 0
        return newest_us < self._runtime.now_us() - _BEHIND_US

    def _note_idle_time(self) -> None:
        """While shards hold us for idle, the others may have told them of any time up to now.

        After a start they may do so from the one before, until we have said something.
        """
        if self._resumed if self._reported is None else self._reported[0]:
            self.told_us = max(self.told_us or 0, self._runtime.now_us() + FUTURE_SKEW_US)

    def _come_to(self) -> int | None:
        """The event time of the slowest partition that has more to read; None if all are at their end."""
        behind = [self._newest(name) for name in self.reader.partitions() if not self.reader.at_end(name)]
        return min(behind, default=None)

    def _newest(self, partition: str) -> int:
        count = self.bucket.partitions.get(partition)
        return count.newest_us if count else -(1 << 62)

    def _clock(self, partition: str) -> PartitionClock:
        clock = self._clocks.get(partition)
        if clock is None:
            count = self.bucket.partitions.get(partition)
            newest = count.newest_us if count and count.counted else None
            clock = self._clocks[partition] = PartitionClock(self._idle_us, newest)
        return clock

    def _report(self) -> list[Item]:
        """Tell the shards when the watermark passed a minute, idleness changed, or all is read."""
        now_us = self._runtime.monotonic_us()
        for partition in self.reader.partitions():
            clock = self._clock(partition)
            if self.reader.at_end(partition):
                clock.at_end(now_us)
            else:
                clock.busy()
        idle, watermark = combine(self._clocks, now_us)
        if self._bounded and idle:
            self._ended = True
            report = Report(self._name, None, ended=True, newest_us=self.bucket.newest_us)
            return self._to_all(report) if self._final else []
        if idle:
            return self._report_idle()
        if watermark is None or self._reported == (False, watermark // _REPORT_US):
            return []
        self._note_idle_time()
        self._reported = (False, watermark // _REPORT_US)
        self.told_us = max(self.told_us or 0, watermark)
        return self._to_all(Report(self._name, watermark))

    def _report_idle(self) -> list[Item]:
        """Say once a minute up to which arrival time all is read: while everybody is idle, event time goes on by it.

        The margin covers what was underway when we fell silent, and clocks that are fast.
        """
        read_us = self._runtime.now_us() - self._idle_us - FUTURE_SKEW_US
        if self._reported == (True, read_us // _REPORT_US):
            return []
        self._reported = (True, read_us // _REPORT_US)
        self._note_idle_time()
        return self._to_all(Report(self._name, None, read_us=read_us))

    def _to_all(self, report: Report) -> list[Item]:
        return [(shard, report) for shard in self._shards]
