"""The job: parts read files, shards of meters hold windows, rows leave after the commit. No engine in sight."""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kappawatt.stream.intern import Interner
from kappawatt.stream.job import Item, Job, Runtime, Source, Step
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.part import DRAIN_EPOCHS, EpochPart
from kappawatt.stream.table import Column
from kappawatt.stream.ticks import Ticks, is_tick
from kappawatt.stream.watermark import MinWatermark, PartitionClock, combine
from kappawatt.stream.wide import WIDE, squares, whole
from kappawatt.stream.windows import Rows, Status, TumblingWindows

from . import files
from .intake import MINUTES, Frame, Intake, Minutes, Row, late_rows

BUCKETS = tuple(f"b{bucket}" for bucket in range(4))
SHARDS = tuple(f"s{shard}" for shard in range(8))
STATE_VERSION = 1
_BYTES_PER_EPOCH = 16 << 20
_REPORT_MS = 1_000

COLUMNS = {
    "count": Column("sum"),
    "sum_mw": Column("sum"),
    "squares_mw2": WIDE,
    "min_mw": Column("min"),
    "max_mw": Column("max"),
}


class Report(NamedTuple):
    """What a bucket says of itself to every shard: how far it is (None: idle), and whether it has ended for good."""

    bucket: str
    watermark_ms: int | None
    ended: bool = False


def downsampling_job(
    log: Path, runtime: Runtime, *, until_end: bool, idle_us: int = 10_000_000, minutes: Minutes = MINUTES
) -> Job:
    """Readings of the files in *log* to a row per meter and minute.

    Args:
        log: The folder.
        runtime: What parts ask of the process that they run in.
        until_end: Read what is there, give all rows as final, end.
        idle_us: How long a file is silent at its end until it holds nobody back.
        minutes: The windows, minutes by default.
    """

    def part(name: str, state: Any) -> EpochPart:
        inner, waiting = state or (None, ((), 0))
        intake = Intake(minutes)
        if inner is not None:
            intake.load(inner)
        reading = BucketReading(name, log, runtime, intake, until_end=until_end, idle_us=idle_us)
        return EpochPart(name, reading, Ticks(SHARDS), Outbox(*waiting), runtime)

    def shard(name: str, state: Any) -> Shard:
        return Shard(name, state, minutes)

    return Job("downsampling", sources=(Source("readings", BUCKETS, part),), steps=(Step("windows", SHARDS, shard),))


def bucket_of(partition: str) -> str:
    """The bucket that reads a file: fixed by its name, so that any number of processes agree."""
    return BUCKETS[zlib.crc32(partition.encode()) % len(BUCKETS)]


def shard_of(meter: str) -> str:
    """The shard that holds a meter's windows."""
    return SHARDS[zlib.crc32(meter.encode()) % len(SHARDS)]


class BucketReading:
    """A source part: reads its files, judges their records, sends counted ones to their shards."""

    def __init__(
        self, name: str, log: Path, runtime: Runtime, intake: Intake, *, until_end: bool, idle_us: int
    ) -> None:
        self._name, self._log, self._runtime, self._intake = name, log, runtime, intake
        self._until_end, self._idle_us = until_end, 0 if until_end else idle_us
        self._clocks: dict[str, PartitionClock] = {}
        self._told: tuple[bool, int | None] | None = None
        self._changed: set[str] = set()
        self._late: list[Row] = []
        self._letters: list[Row] = []
        self._left = _BYTES_PER_EPOCH
        self._ended = False
        self._wait_s = 0.0

    def __repr__(self) -> str:
        return f"<BucketReading {self._name}, {len(self._intake.counts)} files>"

    def read(self) -> list[Item]:
        """A chunk of the file that is least far in event time, and what the shards must know of time."""
        self._wait_s = 0.05
        if self._left <= 0:
            return []
        items: list[Item] = []
        mine = [name for name in files.partitions(self._log) if bucket_of(name) == self._name]
        for name in mine:  # a file that was not read yet holds the watermark back
            self._clocks.setdefault(name, PartitionClock(self._idle_us, self._known(name)))
        for name in sorted(mine, key=self._newest):
            items = self._read_file(name)
            if items:
                self._wait_s = 0.0
                break
        return items + self._report()

    def fix(self, outbox: Outbox) -> Any:
        """The epoch is over: its rows go into the outbox, the rest is state."""
        rows = {
            "accounting": [self._intake.accounting(name) for name in sorted(self._changed)],
            "late": self._late,
            "letter": self._letters,
        }
        outbox.put({table: each for table, each in rows.items() if each}, {})
        self._changed, self._late, self._letters = set(), [], []
        self._left = _BYTES_PER_EPOCH
        return self._intake.dump()

    def wait_s(self) -> float:
        """Nothing while there is more to read."""
        return self._wait_s

    def ended(self) -> bool:
        """Whether all of a bounded log was read."""
        return self._ended

    def may_go(self, epochs: int) -> bool:
        """Once the shards have released what the end made final."""
        return epochs >= DRAIN_EPOCHS

    def close(self) -> None:
        """Nothing is held open."""

    def _newest(self, name: str) -> int:
        count = self._intake.counts.get(name)
        return count.newest_ms if count else -(1 << 62)

    def _read_file(self, name: str) -> list[Item]:
        count = self._intake.counts.get(name)
        chunk = files.read(self._log / name, count.position if count else 0)
        clock = self._clocks[name]
        if not len(chunk.start) and not chunk.damaged:
            clock.at_end(self._runtime.monotonic_us())
            return []
        verdicts = self._intake.add(name, chunk)
        self._changed.add(name)
        self._late += verdicts.late
        self._letters += verdicts.letters
        self._left -= len(chunk.buffer)
        clock.busy()
        if (newest := self._known(name)) is not None:
            clock.advance(newest)
        return _by_shard(verdicts.taken) or [(SHARDS[0], verdicts.taken)]

    def _known(self, name: str) -> int | None:
        count = self._intake.counts.get(name)
        return count.newest_ms if count and count.counted else None

    def _report(self) -> list[Item]:
        """Tell the shards when the watermark passed a second, idleness changed, or all is read."""
        idle, watermark = combine(self._clocks, self._runtime.monotonic_us())
        if self._until_end and idle:
            self._ended = True
            return [(shard, Report(self._name, None, ended=True)) for shard in SHARDS]
        told = (idle, None if watermark is None else watermark // _REPORT_MS)
        if told == self._told or (not idle and watermark is None):
            return []
        self._told = told
        return [(shard, Report(self._name, watermark)) for shard in SHARDS]


def _by_shard(frame: Frame) -> list[Item]:
    """The frame cut by the shards of its meters."""
    owner = np.array([SHARDS.index(shard_of(name)) for name in frame.names], np.int64)[frame.meter]
    found: list[Item] = []
    for shard in np.unique(owner).tolist():
        rows = owner == shard
        columns = (frame.meter[rows], frame.timestamp_ms[rows], frame.value_mw[rows])
        found.append((SHARDS[shard], Frame(frame.names, *columns)))
    return found


class Shard:
    """A step's key: the windows of some meters. Messages are folded when the epoch ends, so their order is nothing."""

    def __init__(self, name: str, state: Any, minutes: Minutes) -> None:
        self._name = name
        self._windows = TumblingWindows(minutes.width_ms, minutes.lateness_ms, COLUMNS)
        self._meters: Interner[str] = Interner()
        self._watermark = MinWatermark(BUCKETS)
        self._running = set(BUCKETS)
        self._inbox: list[Frame | Report] = []
        self._outbox = Outbox()
        if state is not None:
            windows, meters, watermark, outbox = state
            self._windows.load(windows)
            self._meters.load(meters)
            self._watermark.load(watermark)
            self._outbox = Outbox(*outbox)

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Release what the last commit fixed, keep what came."""
        self._inbox += [value for value in values if not is_tick(value)]
        return [(self._name, outlet) for outlet in self._outbox.release()]

    def snapshot(self) -> Any:
        """Fold the epoch: readings first, then time; the rows wait in the outbox for the commit."""
        late: list[Row] = []
        for frame in (each for each in self._inbox if isinstance(each, Frame)):
            late += self._fold(frame)
        for report in (each for each in self._inbox if isinstance(each, Report)):
            self._windows.advance(self._watermark.report(report.bucket, report.watermark_ms))
            if report.ended:
                self._running.discard(report.bucket)
        self._inbox = []
        rows = window_rows(self._meters, self._windows.take(ended=not self._running))
        self._outbox.put({table: each for table, each in (("window", rows), ("late", late)) if each}, {})
        state = (self._windows.dump(), tuple(self._meters.names), self._watermark.dump())
        return (*state, self._outbox.dump())

    def _fold(self, frame: Frame) -> list[Row]:
        codes = np.array([self._meters.code(name) for name in frame.names], np.int64)
        value = frame.value_mw
        columns = {
            "count": np.ones_like(value),
            "sum_mw": value,
            "squares_mw2": squares(value),
            "min_mw": value,
            "max_mw": value,
        }
        late = self._windows.fold(codes[frame.meter], frame.timestamp_ms, columns)
        return late_rows(Frame(frame.names, frame.meter[late], frame.timestamp_ms[late], value[late]))


def window_rows(meters: Interner[str], rows: Rows) -> list[Row]:
    """Rows of table `window`. Mean and variance are made of exact integers by one division: correctly rounded."""
    columns = rows.columns
    made = []
    for meter, start, status, count, total, square, least, most in zip(
        rows.key.tolist(),
        rows.start.tolist(),
        rows.status.tolist(),
        columns["count"].tolist(),
        columns["sum_mw"].tolist(),
        whole(columns["squares_mw2"]),
        columns["min_mw"].tolist(),
        columns["max_mw"].tolist(),
        strict=True,
    ):
        mean_w = total / (count * 1_000)
        variance_w2 = (count * square - total * total) / (count * count * 1_000_000)
        status = Status(status).name.lower()
        made.append((meters[meter], start, count, total, least, most, mean_w, variance_w2, status))
    return made
