"""A log counted again, as far as a store says it has read it: verdicts by partition, energy by run.

What must have been the same when the flow read it: the settings horizon_days and max_device_power_w, and when files
were last written. Records that had expired are counted by a rebuild and rejected by a flow that goes on: both hold.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from kappawatt.emissions.names import BUCKETS, bucket_of
from kappawatt.ledger.bucket import Bucket
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.forgotten import origin
from kappawatt.log import urls
from kappawatt.log.files import FileLog
from kappawatt.settings import Settings
from kappawatt.units import WINDOW_5S_US
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.decode import SampleDecoder

COLUMNS = ("cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj")
VERDICTS = ("sent", "counted", "duplicate", "rejected", "dead")

Energy = tuple[int, ...]
"""µJ in the order of `COLUMNS`."""


class Piece(NamedTuple):
    """Records of one source partition in log order, those before the store's position."""

    partition: str
    bucket: int
    raw: RawBatch
    append_us: Any
    unframed: int
    """Records that could not even be framed."""


class LogReader(Protocol):
    """A log that can be read again from its beginning."""

    def pieces(self, positions: Mapping[str, str]) -> Iterator[Piece]:
        """All records before *positions*, by source partition; reading changes nothing."""

    def schemas(self, schema_id: int) -> Mapping[str, Any] | None:
        """The writer's schema of that registry id."""


@dataclass(slots=True)
class Counted:
    """What a log says: counts by source partition, energy by run, of one run also by 5-s window (start, µs)."""

    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: dict[str, Energy] = field(default_factory=dict)
    windows: dict[int, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    """By run Σ energy · weight of its 5-s window: another number if energy lies in other windows."""
    expired: bool = False


def recount(
    log: LogReader, positions: Mapping[str, str], config: LedgerConfig, *, run_id: str | None = None
) -> Counted:
    """Count all samples before *positions*; with *run_id* also that run's energy by 5-s window.

    Raises:
        LogError: The log cannot be read.
    """
    found = Counted()
    buckets: dict[int, Bucket] = {}
    unframed: dict[str, int] = {}
    for piece in log.pieces(positions):
        bucket = buckets.setdefault(piece.bucket, Bucket(config, SampleDecoder(log.schemas)))
        unframed[piece.partition] = unframed.get(piece.partition, 0) + piece.unframed
        verdict = bucket.add(
            piece.partition,
            piece.raw,
            position=[""] * len(piece.raw.start),
            append_us=piece.append_us,
            after="",
            watermark_us=None,
        )
        found.expired |= any(letter.reason == "expired" for letter in verdict.dead)
        for _, frame in verdict.frames:
            runs = [origin(place.run_id) for place in frame.places]
            _book(found, runs, frame.cell_place, frame.cell_window, frame.cells["energy_uj"], run_id)
    for bucket in buckets.values():
        for name, count in bucket.partitions.items():
            counts = {verdict: getattr(count, verdict) for verdict in VERDICTS}
            more = unframed.get(name, 0)
            found.verdicts[name] = counts | {"sent": counts["sent"] + more, "dead": counts["dead"] + more}
    return found


def _book(found: Counted, runs: list[str], place: Any, window: Any, energy: Any, run_id: str | None) -> None:
    for at, number, cells in zip(place.tolist(), window.tolist(), energy.tolist(), strict=True):
        kinds = [cells[first] + cells[first + 1] for first in range(0, 8, 2)]
        parts = (*kinds, sum(cells[1::2]))
        run = runs[at]
        before = found.runs.get(run)
        found.runs[run] = parts if before is None else tuple(a + b for a, b in zip(before, parts, strict=True))
        start = number * WINDOW_5S_US
        found.marks[run] = found.marks.get(run, 0) + sum(kinds) * weight(start)
        if run == run_id:
            found.windows[start] = found.windows.get(start, 0) + sum(kinds)


def weight(window_start_us: int) -> int:
    """A number of 32 bits that is another one for almost every window."""
    return zlib.crc32(window_start_us.to_bytes(8, "little", signed=True))


class FileReader:
    """A file log; positions are `NAME:BYTES`."""

    def __init__(self, log: FileLog) -> None:
        self._log = log

    def __repr__(self) -> str:
        return f"<FileReader {self._log!r}>"

    def pieces(self, positions: Mapping[str, str]) -> Iterator[Piece]:
        """Partition by partition."""
        for name in self._log.partitions("sample"):
            if f"sample/{name}" in positions:
                file, _, offset = positions[f"sample/{name}"].rpartition(":")
                yield from self._partition(name, file, int(offset or 0))

    def schemas(self, schema_id: int) -> Mapping[str, Any] | None:
        """Files carry their schema: no id is known."""
        return None

    def _partition(self, name: str, file: str, offset: int) -> Iterator[Piece]:
        position = None
        with closing(self._log.partition("sample", name)) as partition:
            while True:
                chunk = partition.read(position)
                inside = np.full(len(chunk), chunk.file < file)
                if chunk.file == file:
                    inside = chunk.position < offset
                start, end = chunk.start[inside], chunk.end[inside]
                raw = RawBatch(chunk.buffer, start, end, np.zeros(len(start), np.int32))
                unframed = sum((bad[0], bad[1]) < (file, offset) for bad in chunk.bad)
                append_us = np.full(len(start), chunk.mtime_us, np.int64)
                yield Piece(f"sample/{name}", bucket_of(name), raw, append_us, unframed)
                if chunk.at_end or not inside.all() or chunk.file > file:
                    return
                position = chunk.next


class KafkaReader:
    """A log in Kafka; positions are offsets. Reading is bounded by them and commits nothing."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        from kappawatt.log.kafka import KafkaLog
        from kappawatt.wire.registry import Registry

        self._log = KafkaLog(bootstrap, settings.registry, settings.topic_prefix)
        self._registry = Registry(settings.registry or "", topic_prefix=settings.topic_prefix)

    def __repr__(self) -> str:
        return f"<KafkaReader {self._log!r}>"

    def pieces(self, positions: Mapping[str, str]) -> Iterator[Piece]:
        """Batch by batch, the partitions as they come."""
        ends = {int(name.partition("/")[2]): int(offset) for name, offset in positions.items() if offset.isdecimal()}
        with closing(self._log.consumer("sample", sorted(ends), {})) as consumer:
            for batch in consumer.until(ends):
                bad = [(number, offset) for number, offset, *_ in batch.bad]
                for number in sorted({*np.unique(batch.partition).tolist(), *(each for each, _ in bad)}):
                    rows = np.flatnonzero((batch.partition == number) & (batch.offset < ends[number]))
                    raw = RawBatch(batch.buffer, batch.start[rows], batch.end[rows], batch.schema_id[rows])
                    unframed = sum(each == number and offset < ends[number] for each, offset in bad)
                    times = batch.timestamp_us[rows]
                    yield Piece(f"sample/{number}", number % len(BUCKETS), raw, times, unframed)

    def schemas(self, schema_id: int) -> Mapping[str, Any] | None:
        """The registry's."""
        return self._registry.schema_for(schema_id)

    def incomplete(self) -> list[str]:
        """Source partitions whose oldest records are no longer kept."""
        partitions = range(self._log.partition_count("sample"))
        with closing(self._log.consumer("sample", partitions, {})) as consumer:
            return [f"sample/{number}" for number, low in consumer.low_watermarks().items() if low > 0]


def reader(settings: Settings) -> FileReader | KafkaReader | None:
    """The log that the settings name; None for Kafka without a registry, or whose oldest records are gone."""
    place = urls.parse(settings.log)
    if isinstance(place, urls.FileUrl):
        return FileReader(FileLog(place.directory))
    if not settings.registry:
        return None
    kafka = KafkaReader(settings, place.bootstrap)
    return None if kafka.incomplete() else kafka


def config_of(settings: Settings) -> LedgerConfig:
    """The numbers that decide about verdicts."""
    return LedgerConfig(
        horizon_us=round(settings.horizon_days * 86_400e6), max_device_power_w=round(settings.max_device_power_w)
    )


def both(log: LogReader, positions: Mapping[str, str], config: LedgerConfig) -> Iterable[Counted]:
    """What a flow that goes on counts and, if some records had expired, what a rebuild counts."""
    first = recount(log, positions, config)
    return (first, recount(log, positions, replace(config, rebuilding=True))) if first.expired else (first,)
