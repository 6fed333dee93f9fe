"""A column of a table in memory, in as few bytes as its values have needed so far."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.packing import Packed, pack

Ints = NDArray[np.int64]
Array = NDArray[Any]
Rows = Ints | slice

_WIDER = tuple(np.iinfo(name) for name in ("int8", "int16", "int32", "int64"))


class LeanColumn:
    """Integers of 1, 2, 4 or 8 bytes, the least that all of them fit in, or doubles; *width* columns side by side.

    Of those side by side each has its own size, and takes no memory as long as it was never anything but 0. What is
    given out has int64 or float64, so sums of it do not wrap earlier than they would.
    """

    def __init__(self, width: int, dtype: str) -> None:
        self._width = width
        self._dtype = np.dtype(dtype)
        self._parts: list[Array | None] = [None] * width  # None: only zeros

    def __repr__(self) -> str:
        return f"<LeanColumn {', '.join('0' if part is None else str(part.dtype) for part in self._parts)}>"

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return sum(part.nbytes for part in self._parts if part is not None)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Of so many rows."""
        return (rows,) if self._width == 1 else (rows, self._width)

    def take(self, at: Rows) -> Array:
        """A copy of some rows."""
        if self._width == 1:
            return self._part(0, at)
        rows = at.stop - at.start if isinstance(at, slice) else len(at)
        found = np.zeros((rows, self._width), self._dtype)
        for number, part in enumerate(self._parts):
            if part is not None:
                found[:, number] = part[at]
        return found

    def has(self, value: int, rows: int) -> NDArray[np.bool_]:
        """Which of the first *rows* are *value*; for columns of width 1."""
        part = self._parts[0]
        if part is None:
            return np.full(rows, value == 0)
        found: NDArray[np.bool_] = part[:rows] == value
        return found

    def put(self, at: Ints, values: Array, room: int) -> None:
        """Write some rows; *room* is how many rows there will be at most."""
        for number, each in enumerate(self._split(values)):
            self._put(number, at, each, room)

    def fold(self, merge: np.ufunc, at: Ints, values: Array, room: int) -> None:
        """Write some rows as what *merge* (sum, least, greatest) makes of what is there and *values*."""
        for number, each in enumerate(self._split(values)):
            if self._parts[number] is not None or each.any():
                self._put(number, at, merge(self._part(number, at), each), room)

    def clear(self, at: Ints) -> None:
        """Write 0 in some rows."""
        for part in self._parts:
            if part is not None:
                part[at] = 0

    def make_way(self, first: int, last: int, places: Ints) -> None:
        """Move the rows [first, last) to *places*, ascending; what is left behind is written before it is read."""
        for part in self._parts:
            if part is not None:
                part[places] = part[first:last].copy()

    def keep(self, rows: Ints, room: int) -> None:
        """Move some rows, ascending, to the front, in room for so many."""
        for number, part in enumerate(self._parts):
            if part is not None:
                kept = part if len(part) == room else np.empty(room, part.dtype)
                kept[: len(rows)] = part[rows]
                self._parts[number] = kept

    def widen(self, rows: int, room: int) -> None:
        """Make room for so many, of which the first *rows* are in use."""
        for number, part in enumerate(self._parts):
            if part is not None:
                wider = np.empty(room, part.dtype)
                wider[:rows] = part[:rows]
                self._parts[number] = wider

    def pack(self, first: int, last: int) -> Packed:
        """An independent copy of rows [first, last), at least one, for a snapshot."""
        found = tuple(self._packed(part, first, last) for part in self._parts)
        return found[0] if self._width == 1 else found

    def _split(self, values: Array) -> list[Array]:
        return [values] if self._width == 1 else list(values.T)

    def _part(self, number: int, at: Rows) -> Array:
        part = self._parts[number]
        if part is None:
            return np.zeros(at.stop - at.start if isinstance(at, slice) else len(at), self._dtype)
        found = part[at]
        return found.copy() if found.dtype == self._dtype and isinstance(at, slice) else found.astype(self._dtype)

    def _put(self, number: int, at: Ints, values: Array, room: int) -> None:
        part = self._parts[number]
        if len(at) == 0:
            return
        if part is None and self._dtype.kind != "f" and not values.any():
            return  # there are zeros already
        if part is not None:
            narrow = values.astype(part.dtype, copy=False)
            if narrow is values or (narrow == values).all():
                part[at] = narrow
                return
        kind = self._least(values)
        part = self._parts[number] = np.zeros(room, kind) if part is None else part.astype(kind)
        part[at] = values

    def _least(self, values: Array) -> np.dtype[Any]:
        if self._dtype.kind == "f":
            return self._dtype
        low, high = int(values.min()), int(values.max())
        return next(each.dtype for each in _WIDER if each.min <= low and high <= each.max)

    @staticmethod
    def _packed(part: Array | None, first: int, last: int) -> Packed:
        if part is None:
            return 0
        return pack(part[first:last].astype(part.dtype if part.dtype.kind == "f" else np.int64))
