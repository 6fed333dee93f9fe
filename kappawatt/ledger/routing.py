"""From the sums of a batch to frames by shard, by slices instead of sorting shard by shard."""

import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import Columns, Device, Frame, Place

Ints = NDArray[np.int64]

WINDOW_BITS = 31
_LOW = (1 << WINDOW_BITS) - 1


def shard_of(run_id: str, shards: int) -> int:
    """The shard that owns a run, for ever.

    >>> shard_of("run-1", 64)
    35
    """
    return zlib.crc32(run_id.encode()) % shards


class ShardOrder:
    """Ranks for the codes of an interner, by (shard, code): sorting by rank sorts by shard.

    Ranks change as names come, codes do not; a rank is good for one batch.
    """

    def __init__(self, names: Sequence[Place] | Sequence[Device], shards: int) -> None:
        self._names = names
        self._shards = shards
        self._shard = np.empty(0, np.int64)
        self.rank = np.empty(0, np.int64)
        """By code."""
        self.code = np.empty(0, np.int64)
        """By rank."""
        self.first = np.zeros(shards + 1, np.int64)
        """By shard its lowest rank, and at the end the number of ranks."""

    def __repr__(self) -> str:
        return f"<ShardOrder {len(self.code)} names in {self._shards} shards>"

    def refresh(self) -> None:
        """Rank the names that have come since."""
        fresh = self._names[len(self._shard) :]
        if not fresh:
            return
        added = [shard_of(name.run_id, self._shards) for name in fresh]
        self._shard = np.concatenate((self._shard, np.array(added, np.int64)))
        self.code = np.argsort(self._shard, kind="stable")
        self.rank = np.empty(len(self.code), np.int64)
        self.rank[self.code] = np.arange(len(self.code))
        self.first = np.searchsorted(self._shard[self.code], np.arange(self._shards + 1))


def frames(
    places: ShardOrder,
    devices: ShardOrder,
    cells: tuple[Ints, Columns],
    usage: tuple[Ints, Columns],
    device_rows: tuple[Ints, Columns],
    *,
    place: Callable[[int], Place],
    device: Callable[[int], Device],
) -> list[tuple[int, Frame]]:
    """Frames by shard.

    Args:
        places: Ranks of places.
        devices: Ranks of devices.
        cells: CELL_COLUMNS by `place rank << 31 | window`, ascending.
        usage: USAGE_COLUMNS by place rank, ascending; has every place of the cells.
        device_rows: DEVICE_COLUMNS by `device rank << 31 | window`, ascending.
        place: Name of a place by its code.
        device: Name of a device by its code.
    """
    cell_rank, device_rank = cells[0] >> WINDOW_BITS, device_rows[0] >> WINDOW_BITS
    cell_place = np.searchsorted(usage[0], cell_rank)
    present = np.unique(device_rank)
    device_index = np.searchsorted(present, device_rank)
    edges = zip(
        np.searchsorted(usage[0], places.first).tolist(),
        np.searchsorted(cell_rank, places.first).tolist(),
        np.searchsorted(present, devices.first).tolist(),
        np.searchsorted(device_rank, devices.first).tolist(),
        strict=True,
    )
    found = []
    for shard, (low, high) in enumerate(pairwise(edges)):
        if low[0] == high[0]:
            continue
        used, cell, named, rows = (slice(a, b) for a, b in zip(low, high, strict=True))
        frame = Frame(
            [place(code) for code in places.code[usage[0][used]].tolist()],
            cell_place[cell] - low[0],
            cells[0][cell] & _LOW,
            _sliced(cells[1], cell),
            np.arange(high[0] - low[0]),
            _sliced(usage[1], used),
            [device(code) for code in devices.code[present[named]].tolist()],
            device_index[rows] - low[2],
            device_rows[0][rows] & _LOW,
            _sliced(device_rows[1], rows),
        )
        found.append((shard, frame))
    return found


def _sliced(columns: Columns, rows: slice) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in columns.items()}
