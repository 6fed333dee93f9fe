"""One topic of one slot on its way to Kafka: what comes next, what is on the way, what is acknowledged. No network."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kappawatt.errors import WireError
from kappawatt.log.blocks import MAX_BLOCK_BYTES, SYNC_BYTES, Block, scan
from kappawatt.log.datums import datums_of
from kappawatt.log.failures import Failure, Trouble
from kappawatt.log.tail import FileTail, Position, Window
from kappawatt.wire import codec
from kappawatt.wire.reader import read_bytes, read_long
from kappawatt.wire.records import DeadLetter

_WINDOW_BYTES = 256 * 1024
_BATCH = 1000
_DEAD_BYTES = 512 * 1024

KEYS = {"sample": ("text", "long", "text"), "intensity": ("text",), "run_event": ("text", "text")}
"""The first fields of a topic's schema up to the one that is the key of its messages."""


def key_of(topic: str, datum: bytes) -> bytes | None:
    """The key of a record: host of a sample, zone of an intensity, run_id of a run event; None if it has none."""
    key: bytes | None = None
    at = 0
    try:
        for kind in KEYS.get(topic, ()):
            if kind == "text":
                key, at = read_bytes(datum, at)
            else:
                _, at = read_long(datum, at)
    except (IndexError, WireError):
        return None  # a damaged record is shipped as it is: the flow lists it as dead
    return key


@dataclass(slots=True, eq=False)
class Record:
    """One message; `done` is called when its fate is known."""

    topic: str
    key: bytes | None
    datum: bytes
    after: Position
    """Up to where the spool is shipped when this record and all before it are."""
    settled: bool = False
    failure: Failure | None = None
    stands_for: "Record | None" = None
    """The record that this dead letter replaces."""
    failures: "list[Record] | None" = None
    """Where it is listed when it fails."""

    def done(self, failure: Failure | None) -> None:
        """Kafka has it (None), or why not."""
        self.failure = failure
        self.settled = failure is None
        if self.settled and self.stands_for is not None:
            self.stands_for.settled = True
        if failure is not None and self.failures is not None:
            self.failures.append(self)


class Shipment:
    """The records of *topic* in partition *slot* of the spool in *directory*, from *acknowledged* on."""

    def __init__(self, directory: Path, topic: str, slot: str, acknowledged: Position | None) -> None:
        self.topic = topic
        self.slot = slot
        self.acknowledged = acknowledged
        """Everything before it is in Kafka."""
        self.shipped = 0
        self.failure: Failure | None = None
        """Why a record did not arrive although the client does not time out; then `rewind`."""
        self._tail = FileTail(directory, topic, slot)
        self._cursor = acknowledged
        self._failures: list[Record] = []
        self._ready: deque[Record] = deque()
        self._on_the_way: deque[Record] = deque()

    def has_more(self) -> bool:
        """There is a record to take."""
        if not self._ready:
            self._fill()
        return bool(self._ready)

    def take(self) -> Iterator[Record]:
        """The next records, at most a batch of them; each counts as on the way from then on."""
        for _ in range(_BATCH):
            if not self.has_more():
                return
            record = self._ready.popleft()
            record.failures = self._failures
            self._on_the_way.append(record)
            yield record

    def give_back(self, record: Record) -> None:
        """The last record that was taken could not be sent now; it comes first again."""
        self._on_the_way.pop()
        self._ready.appendleft(record)

    def advance(self) -> bool:
        """Move `acknowledged` over what has arrived without a hole; True if it moved."""
        before = self.acknowledged
        while self._on_the_way and self._on_the_way[0].settled:
            record = self._on_the_way.popleft()
            if self.acknowledged is None or self.acknowledged < record.after:  # a late dead letter stands further back
                self.acknowledged = record.after
            self.shipped += record.stands_for is None
        if not self._on_the_way and not self._ready and self._cursor is not None:
            self.acknowledged = self._cursor  # headers and file ends have no record of their own
        while self._failures:
            failed = self._failures.pop()
            assert failed.failure is not None
            self._handle(failed, failed.failure)
        return self.acknowledged != before

    def rewind(self) -> None:
        """Begin again behind what is acknowledged; what is on the way may arrive twice."""
        self.failure = None
        self._failures = []  # a new list: what comes too late for the old records concerns nobody
        self._ready.clear()
        self._on_the_way.clear()
        self._cursor = self.acknowledged

    def close(self) -> None:
        """Close the file."""
        self._tail.close()

    def _handle(self, record: Record, failure: Failure) -> None:
        if failure.trouble is not Trouble.TOO_LARGE or record.topic == "dead_letter":
            self.failure = failure
            return
        # Kafka will never take it: a dead letter goes in its place, and what follows is shipped.
        record.failure = None
        letter = self._letter(record.after, record.datum, "too_large")
        letter.stands_for = record
        self._ready.appendleft(letter)

    def _fill(self) -> None:
        size = _WINDOW_BYTES
        while not self._ready:
            window = self._tail.window(self._cursor, size)
            if window is None:
                return
            before, self._cursor = self._cursor, self._read(window)
            at_end = window.ended and window.following is None
            if at_end and not self._ready:
                return
            if self._cursor == before:  # a block longer than the window: look further
                size = min(size * 4, 2 * MAX_BLOCK_BYTES)

    def _read(self, window: Window) -> Position:
        """Make records of *window*; where the next one begins."""
        file, start = window.file, window.start
        found = scan(window.data, window.sync, final=window.final)
        records = [self._letter((file, start + b), window.data[a:b], reason) for a, b, reason in found.bad]
        records += [self._letter((file, start), head, reason) for _, head, reason in window.bad]
        for block in found.blocks:
            records += self._records(window, block)
        self._ready.extend(sorted(records, key=lambda each: each.after))
        if window.final and found.used == len(window.data):
            return str(window.following), 0
        return file, start + found.used

    def _records(self, window: Window, block: Block) -> list[Record]:
        assert window.schema is not None
        before = (window.file, window.start + block.start)
        after = (window.file, window.start + block.end + SYNC_BYTES)
        try:
            spans = datums_of(self.topic, window.schema, window.data, block)
        except WireError:
            return [self._letter(after, window.data[block.begin : block.end], "undecodable")]
        datums = [span if isinstance(span, bytes) else window.data[span[0] : span[1]] for span in spans]
        records = [Record(self.topic, key_of(self.topic, datum), datum, before) for datum in datums]
        records[-1].after = after
        return records

    def _letter(self, after: Position, payload: bytes, reason: str) -> Record:
        source = f"spool/{self.topic}/{self.slot}"
        letter = DeadLetter(
            source=source,
            position=f"{after[0]}:{after[1]}",
            verdict="dead",
            reason=reason,
            payload=payload[:_DEAD_BYTES],
        )
        return Record("dead_letter", source.encode(), codec.encode("dead_letter", letter.to_avro()), after)
