"""A log in memory: partitions with offsets, holes in them and records that are gone, read as the job's sources read."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kappawatt.emissions.reading import Batch, Positions
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter

NEVER_APPENDED_US = 1 << 62
"""Append time of a record that does not say: nothing is ahead of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One record; *broken* names the reason why it could not even be framed."""

    offset: int
    payload: bytes
    append_us: int
    schema_id: int
    broken: str | None


class MemoryLog:
    """Topics of partitions of records. What is appended is seen by readers at their next poll.

    Args:
        most: The most records that one poll takes of a partition: a number, or whom to ask, by `topic/NAME`.
    """

    def __init__(self, *, most: int | Callable[[str], int] = 1_000) -> None:
        self.most = most
        self._records: dict[str, dict[str, list[Stored]]] = {}
        self._next: dict[tuple[str, str], int] = {}

    def __repr__(self) -> str:
        topics = (f"{topic} {sum(map(len, parts.values()))}" for topic, parts in sorted(self._records.items()))
        return f"<MemoryLog {', '.join(topics)}>"

    def create(self, topic: str, partition: str) -> None:
        """Make a partition that is empty so far."""
        self._records.setdefault(topic, {}).setdefault(partition, [])

    def append(
        self,
        topic: str,
        partition: str,
        payload: bytes,
        *,
        offset: int | None = None,
        append_us: int = NEVER_APPENDED_US,
        schema_id: int = 0,
        broken: str | None = None,
    ) -> int:
        """Append a record and return its offset: the next one, or *offset*, which may leave a hole.

        Raises:
            ValueError: *offset* is not behind the last one.
        """
        self.create(topic, partition)
        least = self._next.get((topic, partition), 0)
        at = least if offset is None else offset
        if at < least:
            raise ValueError(f"{topic}/{partition}: offset {at} was given, {least} is the next that is free")
        self._records[topic][partition].append(Stored(at, payload, append_us, schema_id, broken))
        self._next[topic, partition] = at + 1
        return at

    def remove(self, topic: str, partition: str, offsets: Iterable[int]) -> None:
        """Take records away, as compaction does; readers that did not come so far never see them."""
        gone = set(offsets)
        records = self._records[topic][partition]
        records[:] = [record for record in records if record.offset not in gone]

    def trim(self, topic: str, partition: str, before: int) -> None:
        """Take away all records before an offset, as retention does."""
        records = self._records[topic][partition]
        del records[: bisect_left(records, before, key=lambda record: record.offset)]

    def partitions(self, topic: str) -> list[str]:
        """Names of the partitions of a topic, in the order in which they were made."""
        return list(self._records.get(topic, ()))

    def records(self, topic: str, partition: str) -> list[Stored]:
        """What a partition still holds."""
        return list(self._records[topic][partition])

    def end(self, topic: str, partition: str) -> int:
        """The offset that the next record gets."""
        return self._next.get((topic, partition), 0)

    def reader(
        self, topic: str, mine: Callable[[str], bool], positions: Mapping[str, int] | None, *, bounded: bool = False
    ) -> "MemoryReader":
        """A reader of the partitions that *mine* picks; *bounded*: their ends are those of now."""
        return MemoryReader(self, topic, mine, positions, bounded=bounded)

    def most_of(self, partition: str) -> int:
        """The most records that a poll takes of `topic/NAME`."""
        return self.most(partition) if callable(self.most) else self.most


class MemoryReader:
    """A `Reader` of some partitions of one topic of a `MemoryLog`; a position is the offset that comes next."""

    def __init__(
        self,
        log: MemoryLog,
        topic: str,
        mine: Callable[[str], bool],
        positions: Mapping[str, int] | None,
        *,
        bounded: bool,
    ) -> None:
        self._log, self._topic, self._mine = log, topic, mine
        self._position = dict(positions or {})
        self._known: list[str] = []
        self._ended: set[str] = set()
        self._look()
        self._bound = {name: log.end(topic, name) for name in self._known} if bounded else None

    def __repr__(self) -> str:
        return f"<MemoryReader {self._topic} next {self._position}>"

    def partitions(self) -> list[str]:
        """Source partitions known by now."""
        return [f"{self._topic}/{name}" for name in self._known]

    def poll(self, prefer: Callable[[str], int]) -> list[Batch]:
        """What the first partition by *prefer* has that has something, up to the log's `most`."""
        if self._bound is None:
            self._look()
        self._ended = {name for name in self._known if not self._waiting(name)}
        for name in sorted(self._known, key=lambda name: prefer(f"{self._topic}/{name}")):
            taken = self._waiting(name)[: self._log.most_of(f"{self._topic}/{name}")]
            if taken:
                self._position[name] = taken[-1].offset + 1
                if not self._waiting(name):
                    self._ended.add(name)
                return [self._batch(f"{self._topic}/{name}", taken)]
        return []

    def at_end(self, partition: str) -> bool:
        """Whether all was read that was there at the last look (bounded: at the start)."""
        return partition.partition("/")[2] in self._ended

    def dump(self) -> Any:
        """Next offset by partition."""
        return dict(self._position)

    def close(self) -> None:
        """There is nothing to give back."""

    def _look(self) -> None:
        for name in self._log.partitions(self._topic):
            if name not in self._known and self._mine(name):
                self._known.append(name)

    def _waiting(self, name: str) -> list[Stored]:
        records = self._log.records(self._topic, name)
        first = bisect_left(records, self._position.get(name, 0), key=lambda record: record.offset)
        last = len(records)
        if self._bound is not None:
            last = bisect_left(records, self._bound[name], key=lambda record: record.offset)
        return records[first:last]

    def _batch(self, source: str, taken: list[Stored]) -> Batch:
        good = [record for record in taken if record.broken is None]
        length = np.array([len(record.payload) for record in good], np.int64)
        end = np.cumsum(length)
        raw = RawBatch(
            b"".join(record.payload for record in good),
            end - length,
            end,
            np.array([record.schema_id for record in good], np.int32),
        )
        broken = [
            DeadLetter(
                source=source,
                position=str(record.offset),
                verdict="dead",
                reason=record.broken,
                schema_id=None,
                payload=record.payload,
            )
            for record in taken
            if record.broken is not None
        ]
        positions = Positions("", np.array([record.offset for record in good], np.int64))
        append_us = np.array([record.append_us for record in good], np.int64)
        return Batch(source, raw, positions, append_us, str(taken[-1].offset + 1), broken)
