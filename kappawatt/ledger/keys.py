"""Composite int64 keys of the shard's tables: window in the high bits, so that in-order data is appended.

`window << 32 | run << 12 | zone` for cells, with zone 0 for rows; `window << 32 | code` for hosts and devices.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.errors import KappawattError

Ints = NDArray[np.int64]

WINDOW_SHIFT = 32
RUN_SHIFT = 12
ZONE_MASK = (1 << RUN_SHIFT) - 1
RUN_MASK = (1 << (WINDOW_SHIFT - RUN_SHIFT)) - 1
ROW_STEP = 1 << RUN_SHIFT
CODE_MASK = (1 << WINDOW_SHIFT) - 1
"""Of a key all but its window: run and zone of a cell, the code of a host or device."""

SLOTS_A_DAY = 288


def cell_key(window: Ints, run: Ints, zone: Ints) -> Ints:
    """Key of a cell."""
    return window << WINDOW_SHIFT | run << RUN_SHIFT | zone


def row_key(cell: Ints) -> Ints:
    """Key of the row that a cell of the same width is in."""
    return cell & ~ZONE_MASK


def window_of(key: Ints) -> Ints:
    """The window of any key."""
    return key >> WINDOW_SHIFT


def run_of(key: Ints) -> Ints:
    """The run code of a cell's or row's key."""
    return key >> RUN_SHIFT & RUN_MASK


def zone_of(key: Ints) -> Ints:
    """The zone code of a cell's key."""
    return key & ZONE_MASK


def with_window(key: Ints, divisor: int) -> Ints:
    """The same run and zone in the window that is *divisor* times wider."""
    return (window_of(key) // divisor) << WINDOW_SHIFT | key & CODE_MASK


def check_codes(runs: int, zones: int) -> None:
    """Refuse more runs or zones in one shard than the keys can hold.

    Raises:
        KappawattError: 2^20 runs or 2^12 zones in one shard.
    """
    if runs > RUN_MASK or zones > ZONE_MASK:
        raise KappawattError(
            f"a shard holds {runs} runs and {zones} zones, at most {RUN_MASK} and {ZONE_MASK} fit; use more shards"
        )


def wide_sums(group: Ints, groups: int, values: NDArray[Any]) -> list[list[int]]:
    """Sums of non-negative int64 rows by group as Python ints, exact beyond 64 bits; [groups][columns]."""
    shape = (groups, values.shape[1])
    high, low = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    np.add.at(high, group, values >> 32)
    np.add.at(low, group, values & 0xFFFFFFFF)
    pairs = zip(high.tolist(), low.tolist(), strict=True)
    return [[(h << 32) + w for h, w in zip(*pair, strict=True)] for pair in pairs]
