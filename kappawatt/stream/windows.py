"""Tumbling windows by key: rows that are provisional, complete, corrected or final, and what came too late for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.table import Array, Column, KeyedTable

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KEY_BITS = 22
"""Keys are dense codes below 2^22; windows are numbered within ±2^40."""

_STATUS = "window status"  # by row, the one that it was last given with, never final; a caller's names are identifiers
_MOST = 1 << 40


class Status(IntEnum):
    """What a row says of itself when it is given."""

    PROVISIONAL = 0
    """The watermark has not passed the window's end: more is expected."""
    COMPLETE = 1
    """It has, and this is the first time that the row is given since."""
    CORRECTED = 2
    """A record came after the end, within the lateness: this row replaces a complete one."""
    FINAL = 3
    """The lateness is over too: nothing will change this row, its window is evicted."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in the order of windows, then keys; `columns` holds the merged values."""

    key: Ints
    start: Ints
    """First instant of the window; it ends *width* later."""
    status: Ints
    columns: dict[str, Array]

    def __len__(self) -> int:
        return len(self.key)


class TumblingWindows:
    """Values merged by (key, window [n·width, (n + 1)·width)), columns by the rules given.

    A window is *evicted* when its end + lateness ≤ the watermark. What then comes for it is *late*: it is told apart,
    and no row is made. That is decided by the watermark alone, which only grows; so an evicted window leaves nothing
    behind in the state, and no straggler can make it a second time.

    Guarantee: the rows given as final hold all records but the late ones, whatever their order and batches; with the
    order of folds and `advance` calls the same, so are the late ones.

    Args:
        width: Length of a window in the unit of the instants.
        lateness: How long after its end a window still takes records.
        columns: How values merge, by name; `wide.WIDE` for sums beyond 64 bits.
    """

    def __init__(self, width: int, lateness: int, columns: Mapping[str, Column]) -> None:
        if width <= 0 or lateness < 0:
            raise ValueError(f"windows of {width} with a lateness of {lateness}; it takes 1 and 0 at least")
        self._width, self._lateness = width, lateness
        self._names = tuple(columns)
        self._table = KeyedTable({**columns, _STATUS: Column("max")})
        self._dirty: list[Ints] = []
        self.watermark: int | None = None

    def __repr__(self) -> str:
        return f"<TumblingWindows of {self._width}, {len(self)} open rows, watermark {self.watermark}>"

    def __len__(self) -> int:
        return len(self._table)

    def is_late(self, instant: Ints) -> Bools:
        """Which instants lie in an evicted window."""
        if self.watermark is None:
            return np.zeros(len(instant), bool)
        evicted: Bools = instant // self._width < self._evicted()
        return evicted

    def fold(self, key: Ints, instant: Ints, values: Mapping[str, Array]) -> Bools:
        """Take rows and return which of them are late: those are in no window, the caller lists them.

        Raises:
            ValueError: A key is no code below 2^22, or an instant is 2^40 windows away from 0.
        """
        late = self.is_late(instant)
        taken = slice(None) if not late.any() else ~late
        key, window = key[taken], instant[taken] // self._width
        if len(key) == 0:
            return late
        _check("keys", key, 0, 1 << KEY_BITS)
        _check("windows", window, -_MOST, _MOST)
        columns = {name: values[name][taken] for name in self._names}
        columns[_STATUS] = np.zeros(len(key), np.int64)
        self._dirty.append(self._table.merge(window << KEY_BITS | key, columns))
        return late

    def advance(self, watermark: int | None) -> None:
        """No earlier event is expected than *watermark*; one that goes back, or None, changes nothing."""
        if watermark is not None and (self.watermark is None or watermark > self.watermark):
            self.watermark = watermark

    def take(self, *, ended: bool = False) -> Rows:
        """The rows that changed or came to another status since the last time; final ones are forgotten.

        Args:
            ended: The log is at its end: every row is given as final. Those that are not evicted stay, so that a longer
                log can correct them later.
        """
        status = self._table[_STATUS]
        due = np.flatnonzero(self._due(status, ended=ended))
        key = self._table.key[due]
        now = np.full(len(key), Status.FINAL, np.int64) if ended else self._status_of(key, status[due])
        columns = {name: self._table.take(name, due) for name in self._names}
        rows = Rows(key & ((1 << KEY_BITS) - 1), (key >> KEY_BITS) * self._width, now, columns)
        self._table.put(_STATUS, due, np.minimum(now, Status.CORRECTED))
        self._dirty = []
        self._drop_evicted()
        return rows

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes; what changed and was not taken is part of it."""
        return (self.watermark, self._table.dump(), [key.copy() for key in self._dirty])

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave, into a new one of the same width, lateness and columns."""
        self.watermark, table, dirty = state
        self._table.load(table)
        self._dirty = [key.copy() for key in dirty]

    def _evicted(self) -> int:
        """Windows before this one take nothing more."""
        assert self.watermark is not None
        return _within((self.watermark - self._lateness) // self._width)

    def _due(self, status: Ints, *, ended: bool) -> Bools:
        """Rows that changed, that are over for the first time, or that are evicted."""
        due = np.zeros(len(self._table), bool)
        if ended:
            return ~due
        for touched in self._dirty:
            due[self._table.find(touched)[0]] = True
        if self.watermark is not None:
            window = self._table.key >> KEY_BITS
            due |= (window < _within(self.watermark // self._width)) & (status == Status.PROVISIONAL)
            due |= window < self._evicted()
        return due

    def _status_of(self, key: Ints, shown: Ints) -> Ints:
        if self.watermark is None:
            return np.where(shown == Status.PROVISIONAL, Status.PROVISIONAL, Status.CORRECTED).astype(np.int64)
        window = key >> KEY_BITS
        over = window < _within(self.watermark // self._width)
        now = np.where(
            shown == Status.PROVISIONAL, np.where(over, Status.COMPLETE, Status.PROVISIONAL), Status.CORRECTED
        )
        return np.where(window < self._evicted(), Status.FINAL, now).astype(np.int64)

    def _drop_evicted(self) -> None:
        if self.watermark is None:
            return
        gone = self._table.key >> KEY_BITS < self._evicted()
        if gone.any():
            self._table.drop(gone)


def _within(window: int) -> int:
    """A watermark may be absurd: beyond all windows is as good as any."""
    return max(-_MOST, min(window, _MOST))


def _check(what: str, values: Ints, low: int, high: int) -> None:
    if int(values.min()) < low or int(values.max()) >= high:
        raise ValueError(f"{what} {values.min()} … {values.max()}; tumbling windows take {low} to {high - 1}")
