"""Reads file partitions as the job's sources need them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kappawatt.emissions.reading import Batch, Positions
from kappawatt.log.files import FilePartition, partitions
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter

from .letters import MAX_PAYLOAD_BYTES

_LOOK_FOR_NEW_S = 1.0
_CHUNK_BYTES = 4 << 20  # 7,000 ticks of 11 devices: long columns, still in the cache


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
                source=source,
                position=f"{file}:{at}",
                verdict="dead",
                reason=reason,
                schema_id=None,
                payload=data[:MAX_PAYLOAD_BYTES],
            )
            for file, at, data, reason in chunk.bad
        ]
        raw = RawBatch(chunk.buffer, chunk.start, chunk.end, np.zeros(len(chunk.start), np.int32))
        append_us = np.full(len(chunk.start), chunk.mtime_us, np.int64)
        after = "" if chunk.next is None else f"{chunk.next[0]}:{chunk.next[1]}"
        return Batch(source, raw, Positions(f"{chunk.file}:", chunk.position), append_us, after, broken)
