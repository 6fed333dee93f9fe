"""Columns of integers in as few bytes as they need, exactly, for snapshots: most are small, or all the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Packed = Any
"""A plain value: an array, an int that stands for all rows, or a tuple of these for columns side by side."""

_SMALL = tuple(np.iinfo(kind) for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32"))


def pack(values: Array) -> Packed:
    """An independent copy of a column of int64 or float64, [rows] or [rows, width], with at least one row.

    >>> pack(np.array([3, 300])).dtype, pack(np.array([[7, 0], [7, 1]]))[0]
    (dtype('uint16'), 7)
    """
    if values.ndim == 2:
        return tuple(pack(values[:, column]) for column in range(values.shape[1]))
    if values.dtype != np.int64:
        return values.copy()
    low, high = int(values.min()), int(values.max())
    if low == high:
        return low
    kind = next((each.dtype for each in _SMALL if each.min <= low and high <= each.max), values.dtype)
    return values.astype(kind)


def unpack(packed: Packed, rows: int) -> Array:
    """What was packed, of so many rows."""
    if isinstance(packed, tuple):
        return np.stack([unpack(column, rows) for column in packed], axis=1)
    if isinstance(packed, int):
        return np.full(rows, packed, np.int64)
    found: Array = packed.copy() if packed.dtype == np.float64 else packed.astype(np.int64)
    return found


def pack_keys(key: NDArray[np.int64]) -> Packed:
    """As `pack`, for ascending keys with time in the high half: by its steps."""
    return (int(key[0] >> 32), pack(np.diff(key >> 32, prepend=key[0] >> 32)), pack(key & 0xFFFFFFFF))


def unpack_keys(packed: Packed, rows: int) -> NDArray[np.int64]:
    """The keys that were packed."""
    first, steps, low = packed
    key: NDArray[np.int64] = (first + np.cumsum(unpack(steps, rows))) << 32 | unpack(low, rows)
    return key
