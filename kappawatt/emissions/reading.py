"""What a source of the job reads from: batches of records with their positions, by source partition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one source partition in log order; `broken` could not even be framed and stand between them.

    `gone` lists what stood before them and is no longer in the log: nobody read it, so it is in no count.
    """

    partition: str
    raw: RawBatch
    position: Sequence[str]
    append_us: Ints
    after: str
    broken: list[DeadLetter]
    gone: Sequence[DeadLetter] = ()

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


OpenReader = Callable[[str, Any], Reader]
"""Name of a bucket or a topic, and kept positions → its reader."""
