"""The spool: where a collector leaves its records, whatever the disk, the broker or the process does next.

In the embedded home a spool is the log itself; in a cluster the `Publisher` ships it.
"""

import errno
import logging
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

from kappawatt.errors import LogError
from kappawatt.log.file_writer import SEGMENT_BYTES, FileWriter, RawFile, open_new
from kappawatt.log.retention import Bounds, enforce, make_room, survey
from kappawatt.log.slots import Losses, Slot, claim
from kappawatt.retry import Outage
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter, Intensity, RunEvent, Sample

_logger = logging.getLogger(__name__)

_TOPIC_OF: dict[type, str] = {
    Sample: "sample",
    RunEvent: "run_event",
    Intensity: "intensity",
    DeadLetter: "dead_letter",
}
_SMALLEST_SEGMENT = 4096
_BATCH = 1024
_CHECK_S = 60.0

Record = Sample | RunEvent | Intensity | DeadLetter


class Spool:
    """A place for records in *directory*, for any number of threads and processes; each process makes its own.

    `append` hands a record to the operating system: it survives kill -9. After a `sync` that says True it survives a
    power cut. Neither ever raises because of the disk: while the disk is full, read-only or gone, records wait in
    memory (the newest *memory_bytes* of them), one warning is logged, and all is written when the disk is back.

    Args:
        directory: The folder; made when missing.
        host: Part of the names of the files; default: this machine's.
        max_bytes: Most that the folder may hold. Then shipped files go first, then the oldest, which is counted.
            None: nothing is ever removed (the folder is the log itself).
        max_age_s: Files not written for longer are removed. None: never.
        program: What other processes are told about this writer.
        memory_bytes: Most that may wait in memory for the disk.
        open_file: Makes a new file.
        now: Monotonic clock, s.
        wall: Wall clock, s, to be compared with the files' times.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        host: str | None = None,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        program: str = "",
        memory_bytes: int = 16 << 20,
        open_file: Callable[[Path], RawFile] = open_new,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.directory = Path(directory)
        self.host = host or platform.node() or "localhost"
        self.bounds = Bounds(max_bytes=max_bytes, max_age_s=max_age_s)
        self.memory_bytes = memory_bytes
        self._segment_bytes = _segment_bytes(max_bytes)
        self._program = program
        self._open_file = open_file
        self._now, self._wall = now, wall
        self._outage = Outage(_logger, f"spool {self.directory}", now=now)
        self._guard = threading.RLock()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._gone: dict[str, int] = {}
        self._slot: Slot | None = None
        self._losses: Losses | None = None
        self._writers: dict[str, _Writer] = {}
        self._checked_at = now()
        self._closed = False
        with self._guard:
            self._flush()

    @property
    def slot(self) -> str | None:
        """Name of the partitions that this spool writes; None while the folder cannot be written."""
        return None if self._slot is None else self._slot.name

    @property
    def lost(self) -> int:
        """Records that this slot ever had to give up."""
        return sum(self._gone.values()) + (0 if self._losses is None else self._losses.total)

    @property
    def trouble(self) -> str | None:
        """Why the disk takes nothing just now; None while it works."""
        return self._outage.reason

    def kept(self) -> tuple[int, float]:
        """Bytes of all files below the folder, and the seconds since the oldest of them was written last."""
        segments = survey(self.directory)
        oldest_s = max(0.0, self._wall() - segments[0].mtime_s) if segments else 0.0
        return sum(each.size for each in segments), oldest_s

    @property
    def waiting(self) -> int:
        """Records in memory that the disk does not take."""
        return len(self._waiting)

    def append(self, *records: Record) -> None:
        """Add *records*, in order.

        Raises:
            WireError: A record does not fit its schema; none of them is added.
        """
        pairs = [(topic := _TOPIC_OF[type(record)], codec.encode(topic, record.to_avro())) for record in records]
        with self._guard:
            self._take(pairs)

    def append_datums(self, topic: str, datums: Sequence[bytes]) -> None:
        """Add records that are already encoded in the bundled schema of *topic*."""
        with self._guard:
            self._take([(topic, datum) for datum in datums])

    def sync(self) -> bool:
        """True when every record so far survives a power cut; False: the disk refuses, `repr` and the log say why."""
        with self._guard:
            done = self._flush()
            for topic, writer in self._writers.items():
                done &= self._sync_one(topic, writer)
            if done and self._now() - self._checked_at > _CHECK_S:
                self._check()
            if self._losses is not None:
                self._losses.save()
            return done

    def close(self) -> None:
        """Sync, and give the slot to the next; what only memory holds then is counted as lost."""
        with self._guard:
            if self._closed:
                return
            self._outage.hurry()
            self.sync()
            self._closed = True
            while self._waiting:
                self._forget_oldest()
            for topic, writer in self._writers.items():
                self._close_one(topic, writer)
            if self._losses is not None:
                self._settle()
                self._losses.save()
            if self._slot is not None:
                self._slot.writer.release()

    def _take(self, pairs: list[tuple[str, bytes]]) -> None:
        if self._closed:
            raise LogError(f"spool {self.directory} is closed; append before close()")
        self._waiting.extend(pairs)
        self._waiting_bytes += sum(len(datum) for _, datum in pairs)
        if self._flush():
            return
        while self._waiting_bytes > self.memory_bytes:
            self._forget_oldest()

    def _flush(self) -> bool:
        """Write what waits; False if the disk does not take it now."""
        if not self._outage.due():
            return not self._waiting
        while True:
            try:
                self._open()
                while self._waiting:
                    self._write_some()
            except LogError as error:
                if self._is_full(error) and self._make_room():
                    continue
                waits = f"; records wait in memory, {self.memory_bytes >> 20} MB at most"
                self._outage.failed(f"{error}{waits}")
                return False
            self._outage.worked()
            return True

    def _write_some(self) -> None:
        topic = self._waiting[0][0]
        batch = []
        for other, datum in islice(self._waiting, _BATCH):
            if other != topic:
                break
            batch.append(datum)
        writer = self._writer(topic)
        before = writer.file.file
        writer.file.append(batch)
        for datum in batch:
            self._waiting.popleft()
            self._waiting_bytes -= len(datum)
        writer.unsynced += len(batch)
        if writer.file.file != before:
            writer.began_at = self._now()
            self._check()

    def _writer(self, topic: str) -> "_Writer":
        found = self._writers.get(topic)
        if found is not None:
            return found
        assert self._slot is not None
        assert self._losses is not None
        file = FileWriter(
            self.directory, topic, self._slot.name, segment_bytes=self._segment_bytes, open_file=self._open_file
        )
        if file.torn_bytes:
            self._losses.add_torn(file.torn_bytes)
        self._writers[topic] = _Writer(file, self._now())
        return self._writers[topic]

    def _open(self) -> None:
        if self._slot is None:
            self._slot = claim(self.directory, self.host, program=self._program)
            self._losses = Losses(self._slot.lost_path)
            for topic in codec.TOPICS:  # a predecessor's torn tail is cut off now, not at this topic's first record
                if (self.directory / topic).is_dir():
                    self._writer(topic)
        self._settle()

    def _settle(self) -> None:
        assert self._losses is not None
        for topic, count in self._gone.items():
            self._losses.add(topic, count)
        self._gone.clear()

    def _sync_one(self, topic: str, writer: "_Writer") -> bool:
        try:
            writer.file.sync()
            if self.bounds.max_age_s and self._now() - writer.began_at > self.bounds.max_age_s / 8:
                writer.file.roll()
        except LogError as error:
            self._outage.failed(str(error))
            if self._losses is not None:
                self._losses.add_unconfirmed(topic, writer.unsynced)
            writer.unsynced = 0
            return False
        writer.unsynced = 0
        return True

    def _close_one(self, topic: str, writer: "_Writer") -> None:
        try:
            writer.file.close()
        except LogError as error:
            _logger.warning("spool %s: %s", self.directory, error)
            if self._losses is not None:
                self._losses.add_unconfirmed(topic, writer.unsynced)

    def _check(self) -> None:
        self._checked_at = self._now()
        if self._slot is None or self._losses is None or self.bounds == Bounds():
            return
        before = self._losses.total
        enforce(self.directory, self._slot, self._losses, self.bounds, now_s=self._wall())
        self._say_given_up(before)

    def _make_room(self) -> bool:
        if self._slot is None or self._losses is None or self.bounds.max_bytes is None:
            return False
        before = self._losses.total
        freed = make_room(self.directory, self._slot, self._losses, size=self._segment_bytes, give_up=True)
        self._say_given_up(before)
        return freed > 0

    def _say_given_up(self, before: int) -> None:
        given_up = self.lost - before
        if given_up > 0:
            _logger.warning("spool %s: gave up %d records that were never shipped", self.directory, given_up)

    def _is_full(self, error: LogError) -> bool:
        cause = error.__cause__
        return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)

    def _forget_oldest(self) -> None:
        topic, datum = self._waiting.popleft()
        self._waiting_bytes -= len(datum)
        self._gone[topic] = self._gone.get(topic, 0) + 1

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        size, oldest_s = self.kept()
        kept = f"{size / 1e6:.1f} MB, oldest {oldest_s:.0f} s" if size else "empty"
        waiting = f", {self.waiting} records in memory" if self.waiting else ""
        lost = f", {self.lost} lost" if self.lost else ""
        why = f", {self._outage.reason}" if self._outage.reason else ""
        return f"<Spool {self.slot} {kept}{waiting}{lost}{why}>"


@dataclass(slots=True)
class _Writer:
    file: FileWriter
    began_at: float
    unsynced: int = 0


def _segment_bytes(max_bytes: int | None) -> int:
    if max_bytes is None:
        return SEGMENT_BYTES
    return max(_SMALLEST_SEGMENT, min(SEGMENT_BYTES, max_bytes // 8))
