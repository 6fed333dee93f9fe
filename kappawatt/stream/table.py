"""A columnar table by a sorted integer key: what a keyed state is when items are batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.lean import LeanColumn
from kappawatt.stream.packing import pack_keys, unpack, unpack_keys

Ints = NDArray[np.int64]
Array = NDArray[Any]
Merge = Literal["sum", "min", "max"]

_ROOM = 64
"""Rows that a table has room for at least."""

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
    if len(key) <= 1 or (key[1:] > key[:-1]).all():
        return key, dict(values)
    order = key.argsort(kind="stable")
    key = key[order]
    values = {name: value.take(order, axis=0) for name, value in values.items()}
    first = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    (starts,) = first.nonzero()
    if len(starts) == len(key):
        return key, dict(values)
    merged = {name: _REDUCE[columns[name].merge].reduceat(value, starts, axis=0) for name, value in values.items()}
    return key[starts], merged


def distinct(key: Ints) -> Ints:
    """Each key once, ascending; in few steps where keys are few or in order, unlike `np.unique`."""
    return reduce_by_key(key, {}, {})[0]


class KeyedTable:
    """Rows by int64 key, ascending; each column is merged by its own rule, so the order of arrival does not matter.

    Inserting moves only what lies behind the insertion point: with time in the high bits of the key, in-order data
    costs as much as it brings. `key` is a view that holds until the next `merge` or `drop`. Columns are kept in as few
    bytes as their values need, and handed out as copies of int64 or float64.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self._size = 0
        self._key = np.empty(_ROOM, np.int64)
        self._data = {name: LeanColumn(column.width, column.dtype) for name, column in self._columns.items()}

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<KeyedTable {self._size} rows of {', '.join(self._columns)}>"

    @property
    def key(self) -> Ints:
        """All keys, ascending."""
        return self._key[: self._size]

    @property
    def nbytes(self) -> int:
        """Memory that is held, free room included."""
        return self._key.nbytes + sum(column.nbytes for column in self._data.values())

    def __getitem__(self, name: str) -> Array:
        """A copy of a whole column: [rows] or [rows, width]."""
        return self._data[name].take(slice(0, self._size))

    def take(self, name: str, at: Ints | slice) -> Array:
        """A copy of a column at some rows: [rows] or [rows, width]."""
        return self._data[name].take(at)

    def has(self, name: str, value: int) -> NDArray[np.bool_]:
        """By row, whether a column of one number a row has this one."""
        return self._data[name].has(value, self._size)

    def put(self, name: str, at: Ints, values: Array | int) -> None:
        """Write a column at some rows, in place of what is there."""
        self._data[name].put(at, np.broadcast_to(values, self._data[name].shape(len(at))), len(self._key))

    def merge(self, key: Ints, values: Mapping[str, Array]) -> Ints:
        """Merge rows (in any order, keys may repeat) and return the touched keys, ascending and unique.

        A column that is left out stays as it is, and is 0 in new rows.
        """
        unique, merged = reduce_by_key(key, values, self._columns)
        at, known = self.find(unique)
        hits = int(np.count_nonzero(known))
        if hits == len(unique):
            self._fold(at, merged)
        elif hits == 0:
            self._insert(at, unique, merged)
        else:
            fresh = ~known
            self._fold(at[known], {name: value[known] for name, value in merged.items()})
            self._insert(at[fresh], unique[fresh], {name: value[fresh] for name, value in merged.items()})
        return unique

    def find(self, key: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """For each key its row, or where it would be inserted, and whether it is there."""
        at = self.key.searchsorted(key)
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
        """Forget the rows where *gone* is set, and the room that is not needed for the rest."""
        kept = np.flatnonzero(~gone)
        if len(kept) == self._size:
            return
        room = len(self._key) if 4 * len(kept) >= len(self._key) else max(_ROOM, 2 * len(kept))
        for column in self._data.values():
            column.keep(kept, room)
        key = self._key if room == len(self._key) else np.empty(room, np.int64)
        key[: len(kept)] = self.key[kept]
        self._key, self._size = key, len(kept)

    def dump(self, low: int | None = None, high: int | None = None) -> tuple[Any, ...]:
        """An independent copy of the rows with low ≤ key < high, in few bytes, for `load`: their number comes first."""
        first = 0 if low is None else int(np.searchsorted(self.key, low))
        last = self._size if high is None else int(np.searchsorted(self.key, high))
        if first >= last:
            return (0,)
        columns = {name: column.pack(first, last) for name, column in self._data.items()}
        return (last - first, pack_keys(self.key[first:last]), columns)

    def load(self, state: tuple[Any, ...]) -> None:
        """Merge what `dump` gave."""
        if state[0]:
            rows, key, columns = state
            self.merge(unpack_keys(key, rows), {name: unpack(column, rows) for name, column in columns.items()})

    def _fold(self, at: Ints, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            self._data[name].fold(_REDUCE[self._columns[name].merge], at, value, len(self._key))

    def _insert(self, at: Ints, key: Ints, values: Mapping[str, Array]) -> None:
        first, size = int(at[0]), self._size + len(key)
        self._reserve(size)
        place = at + np.arange(len(key))
        if first < self._size:
            kept = np.ones(size - first, bool)
            kept[place - first] = False
            moved = first + np.flatnonzero(kept)
            self._key[moved] = self._key[first : self._size].copy()
            for column in self._data.values():
                column.make_way(first, self._size, moved)
        self._key[place] = key
        for name, column in self._data.items():
            if name in values:
                column.put(place, values[name], len(self._key))
            else:
                column.clear(place)
        self._size = size

    def _reserve(self, size: int) -> None:
        if size <= len(self._key):
            return
        room = max(size, len(self._key) * 5 // 4)  # twice as much would be idle memory in tables that have grown up
        key = np.empty(room, np.int64)
        key[: self._size] = self.key
        self._key = key
        for column in self._data.values():
            column.widen(self._size, room)
