"""Cumulative totals by key, without a bound on their size and without an order."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.table import KeyedTable
from kappawatt.stream.wide import WIDE, carry, halves, whole

Ints = NDArray[np.int64]


class Sums(NamedTuple):
    """Totals of some keys, ascending; *columns* holds a list of Python integers each."""

    key: list[int]
    columns: dict[str, list[int]]


class Totals:
    """Sums of named int64 columns by int64 key: what has come so far, given whole whenever it changed.

    Guarantee: equal rows give equal totals whatever their order and batches; no sum wraps before 2^94.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self._names = tuple(columns)
        self._table = KeyedTable(dict.fromkeys(self._names, WIDE))
        self._changed: list[Ints] = []

    def __repr__(self) -> str:
        return f"<Totals {len(self._table)} keys of {', '.join(self._names)}>"

    def add(self, key: Ints, values: Mapping[str, Ints]) -> None:
        """Add rows, in any order; keys may repeat."""
        touched = self._table.merge(key, {name: halves(values[name]) for name in self._names})
        at, _ = self._table.find(touched)
        for name in self._names:
            self._table.put(name, at, carry(self._table.take(name, at)))
        self._changed.append(touched)

    def take(self) -> Sums:
        """The totals that changed since the last time; they count as shown from now on."""
        key = np.unique(np.concatenate(self._changed)) if self._changed else np.empty(0, np.int64)
        self._changed = []
        return self._sums(key)

    def all(self) -> Sums:
        """Every total."""
        return self._sums(self._table.key)

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes; what changed and was not taken is part of it."""
        return (self._table.dump(), [key.copy() for key in self._changed])

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave, into an empty one."""
        table, changed = state
        self._table.load(table)
        self._changed = [key.copy() for key in changed]

    def _sums(self, key: Ints) -> Sums:
        at, _ = self._table.find(key)
        return Sums(key.tolist(), {name: whole(self._table.take(name, at)) for name in self._names})
