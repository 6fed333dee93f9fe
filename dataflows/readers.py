"""One interface over file partitions and Kafka partitions: batches of records with their positions."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kappawatt.log.files import FilePartition, partitions
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter

Ints = NDArray[np.int64]

_LOOK_FOR_NEW_S = 1.0
_CHUNK_BYTES = 4 << 20  # 7,000 ticks of 11 devices: long columns, still in the cache


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one source partition in log order; `broken` could not even be framed and stand between them."""

    partition: str
    raw: RawBatch
    position: Sequence[str]
    append_us: Ints
    after: str
    broken: list[DeadLetter]

    def __len__(self) -> int:
        return len(self.raw.start) + len(self.broken)


@dataclass(frozen=True, slots=True)
class Positions(Sequence[str]):
    """Positions as text, made when one is asked for: the prefix (`FILE:`, or nothing for Kafka) and the number."""

    prefix: str
    numbers: Ints

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.prefix}{int(self.numbers[index])}"


class Reader(Protocol):
    """Reads some partitions of one topic from kept positions on."""

    def partitions(self) -> list[str]:
        """Source partitions known by now, as `topic/NAME`."""

    def poll(self, prefer: Callable[[str], int]) -> list[Batch]:
        """What is there now, some megabytes, of the partitions that come first by *prefer*; empty if nothing is."""

    def at_end(self, partition: str) -> bool:
        """Whether all was read that was there at the last look (bounded: at the start)."""

    def dump(self) -> Any:
        """Plain positions for a later reader."""

    def close(self) -> None:
        """Give back files and connections."""


class FileReader:
    """The file partitions of *topic* that *mine* picks, new ones as they appear."""

    def __init__(
        self, folder: Path, topic: str, mine: Callable[[str], bool], positions: Mapping[str, Any] | None
    ) -> None:
        self._folder, self._topic, self._mine = folder, topic, mine
        self._position: dict[str, tuple[str, int] | None] = {
            name: None if at is None else (at[0], at[1]) for name, at in (positions or {}).items()
        }
        self._open: dict[str, FilePartition] = {}
        self._ended: set[str] = set()
        self._looked = -_LOOK_FOR_NEW_S
        self._look()

    def __repr__(self) -> str:
        return f"<FileReader {self._topic}, {len(self._open)} partitions, {len(self._ended)} at their end>"

    def partitions(self) -> list[str]:
        """Source partitions known by now."""
        return [f"{self._topic}/{name}" for name in self._open]

    def poll(self, prefer: Callable[[str], int]) -> list[Batch]:
        """A chunk of the first partition by *prefer* that has one."""
        self._look()
        for name in sorted(self._open, key=lambda name: prefer(f"{self._topic}/{name}")):
            chunk = self._open[name].read(self._position.get(name), _CHUNK_BYTES)
            (self._ended.add if chunk.at_end else self._ended.discard)(name)
            self._position[name] = chunk.next
            if len(chunk) or chunk.bad:
                return [self._batch(name, chunk)]
        return []

    def at_end(self, partition: str) -> bool:
        """Whether the partition had no more at the last look."""
        return partition.partition("/")[2] in self._ended

    def dump(self) -> Any:
        """Position by partition name."""
        return dict(self._position)

    def close(self) -> None:
        """Close the files."""
        for partition in self._open.values():
            partition.close()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_FOR_NEW_S:
            return
        self._looked = now
        for name in partitions(self._folder, self._topic):
            if name not in self._open and self._mine(name):
                self._open[name] = FilePartition(self._folder, self._topic, name)

    def _batch(self, name: str, chunk: Any) -> Batch:
        source = f"{self._topic}/{name}"
        broken = [
            DeadLetter(
                source=source, position=f"{file}:{at}", verdict="dead", reason=reason, schema_id=None, payload=data
            )
            for file, at, data, reason in chunk.bad
        ]
        raw = RawBatch(chunk.buffer, chunk.start, chunk.end, np.zeros(len(chunk.start), np.int32))
        append_us = np.full(len(chunk.start), chunk.mtime_us, np.int64)
        after = "" if chunk.next is None else f"{chunk.next[0]}:{chunk.next[1]}"
        return Batch(source, raw, Positions(f"{chunk.file}:", chunk.position), append_us, after, broken)
