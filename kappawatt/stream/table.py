"""A columnar table by a sorted integer key: what a keyed state is when items are batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.packing import pack, pack_keys, unpack, unpack_keys

Ints = NDArray[np.int64]
Array = NDArray[Any]
Merge = Literal["sum", "min", "max"]

_REDUCE = {"sum": np.add, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True, slots=True)
class Column:
    """How the values of one column merge, how many there are side by side, and their type."""

    merge: Merge
    width: int = 1
    dtype: str = "int64"


def reduce_by_key(
    key: Ints, values: Mapping[str, Array], columns: Mapping[str, Column]
) -> tuple[Ints, dict[str, Array]]:
    """Unique keys in ascending order, and each column merged over the rows of a key.

    >>> key, out = reduce_by_key(np.array([7, 3, 7]), {"e": np.array([1, 2, 3])}, {"e": Column("sum")})
    >>> key.tolist(), out["e"].tolist()
    ([3, 7], [2, 4])
    """
    if len(key) == 0:
        return key, dict(values)
    if len(key) > 1 and not bool(np.all(key[1:] > key[:-1])):
        order = np.argsort(key, kind="stable")
        key = key[order]
        values = {name: value[order] for name, value in values.items()}
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    if len(starts) == len(key):
        return key, dict(values)
    merged = {name: _REDUCE[columns[name].merge].reduceat(value, starts, axis=0) for name, value in values.items()}
    return key[starts], merged


class KeyedTable:
    """Rows by int64 key, ascending; each column is merged by its own rule, so the order of arrival does not matter.

    Inserting moves only what lies behind the insertion point: with time in the high bits of the key, in-order data
    costs as much as it brings. Arrays that are handed out are views: they hold until the next `merge` or `drop`.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self._size = 0
        self._key = np.empty(64, np.int64)
        self._data = {name: self._blank(column, 64) for name, column in self._columns.items()}

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<KeyedTable {self._size} rows of {', '.join(self._columns)}>"

    @property
    def key(self) -> Ints:
        """All keys, ascending."""
        return self._key[: self._size]

    def __getitem__(self, name: str) -> Array:
        return self._data[name][: self._size]

    def merge(self, key: Ints, values: Mapping[str, Array]) -> Ints:
        """Merge rows (in any order, keys may repeat; all columns) and return the touched keys, ascending and unique."""
        unique, merged = reduce_by_key(key, values, self._columns)
        if len(unique) == 0:
            return unique
        at, known = self.find(unique)
        hit = at[known]
        for name, value in merged.items():
            column = self._data[name]
            column[hit] = _REDUCE[self._columns[name].merge](column[hit], value[known])
        if len(hit) < len(unique):
            fresh = ~known
            self._insert(at[fresh], unique[fresh], {name: value[fresh] for name, value in merged.items()})
        return unique

    def find(self, key: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """For each key its row, or where it would be inserted, and whether it is there."""
        at = np.searchsorted(self.key, key)
        if self._size == 0:
            return at, np.zeros(len(key), bool)
        known = self._key[np.minimum(at, self._size - 1)] == key
        return at, known

    def between(self, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        """Rows with low[i] ≤ key < high[i], for all i: the rows, and for each the i it belongs to."""
        first = np.searchsorted(self.key, low)
        count = np.searchsorted(self.key, high) - first
        owner = np.repeat(np.arange(len(low)), count)
        begin = np.repeat(first - np.concatenate(([0], np.cumsum(count)[:-1])) if len(count) else first, count)
        return begin + np.arange(len(owner)), owner

    def drop(self, gone: NDArray[np.bool_]) -> None:
        """Forget the rows where *gone* is set."""
        keep = ~gone
        size = int(np.count_nonzero(keep))
        self._key[:size] = self.key[keep]
        for name in self._columns:
            self._data[name][:size] = self[name][keep]
        self._size = size

    def dump(self, low: int | None = None, high: int | None = None) -> tuple[Any, ...]:
        """An independent copy of the rows with low ≤ key < high, in few bytes, for `load`: their number comes first."""
        first = 0 if low is None else int(np.searchsorted(self.key, low))
        last = self._size if high is None else int(np.searchsorted(self.key, high))
        if first >= last:
            return (0,)
        columns = {name: pack(self[name][first:last]) for name in self._columns}
        return (last - first, pack_keys(self.key[first:last]), columns)

    def load(self, state: tuple[Any, ...]) -> None:
        """Merge what `dump` gave."""
        if state[0]:
            rows, key, columns = state
            self.merge(unpack_keys(key, rows), {name: unpack(column, rows) for name, column in columns.items()})

    def _insert(self, at: Ints, key: Ints, values: Mapping[str, Array]) -> None:
        first, size = int(at[0]), self._size + len(key)
        self._reserve(size)
        place = at + np.arange(len(key))
        kept = np.ones(size - first, bool)
        kept[place - first] = False
        moved = first + np.flatnonzero(kept)
        for target, given in ((self._key, key), *((self._data[name], values[name]) for name in self._data)):
            if len(moved):
                target[moved] = target[first : self._size].copy()
            target[place] = given
        self._size = size

    def _reserve(self, size: int) -> None:
        if size <= len(self._key):
            return
        capacity = max(size, 2 * len(self._key))
        key = np.empty(capacity, np.int64)
        key[: self._size] = self.key
        self._key = key
        for name, column in self._columns.items():
            wider = self._blank(column, capacity)
            wider[: self._size] = self[name]
            self._data[name] = wider

    @staticmethod
    def _blank(column: Column, rows: int) -> Array:
        shape = (rows,) if column.width == 1 else (rows, column.width)
        if column.merge == "sum":
            return np.zeros(shape, column.dtype)
        if column.dtype == "float64":
            return np.full(shape, np.inf if column.merge == "min" else -np.inf)
        bounds = np.iinfo(np.int64)
        return np.full(shape, bounds.max if column.merge == "min" else bounds.min, column.dtype)
