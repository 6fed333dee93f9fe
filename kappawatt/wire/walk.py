"""The walk of the NumPy way: where each datum stands, and what was found there, one field a step.

A datum that breaks an assumption is marked and walked on, over bytes that mean nothing; positions only grow and stay
within the padded buffer, and what is marked, or does not end where it must, is taken out in the end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Ints, offsets
from .interning import MAX_BLOCK_BYTES
from .plan import Step
from .words import TAIL, U64, Words, close, length, split, zigzag

MAX_COUNT = 256
"""Most readings of a sample here: one array of them, at 64 bytes each, is walked within the buffer's padding."""

_BYTE = np.uint64(0xFF)
_ONE = np.uint64(1)
_EIGHT = np.uint64(8)
_HIGH = np.uint64(0x8080808080808080)
_LAST = np.uint64(0x80 << 56)
_ENDLESS = np.uint64(2**64 - 1)
_MAX_SKIPPED_TEXT = 256
_ARRAYS = frozenset({"codes", "longs", "floats", "devices", "flags"})
_WIDTHS = {"boolean": 1, "float": 4, "double": 8}


class Walk:
    """Rows of datums on their way.

    `row` says which input rows they are, `count` is their number of readings, greatest first; `column` has one item a
    row and `flat` one a reading, both in that order.
    """

    def __init__(self, words: Words, start: Ints, end: Ints, *, few: int) -> None:
        self._words = words
        self._few = few
        self._end = end
        self._at = start
        self._fault = np.zeros(len(start), np.uint64)
        self._stop = np.full(len(start), _ENDLESS)
        self._open = False
        self._active: list[int] = []
        self._turn: Ints | None = None
        self.row = np.arange(len(start))
        self.count = np.zeros(len(start), np.int64)
        self.column: dict[str, Ints] = {}
        self.flat: dict[str, NDArray[Any]] = {}

    def step(self, step: Step) -> None:
        """Walk one field."""
        if step.walk not in _ARRAYS:
            self._close_array()
        match step.walk:
            case "text":
                self._text(step.column)
            case "optional_text":
                self._optional_text(step.column)
            case "long":
                self.column[step.column] = self._long()
            case "codes":
                self._codes(step.column)
            case "longs":
                self._longs(step.column)
            case "floats":
                self._floats(step.column)
            case "devices":
                self._devices(step.column)
            case "flags":
                self._flags(step.column)
            case _:
                self._skip(step)

    def finish(self) -> None:
        """Take out every row that is marked or does not stand at its end."""
        self._close_array()
        good = (self._fault == 0) & (self._stop != 0) & (self._at == self._end)
        if not good.all():
            readings = np.repeat(good, self.count)
            self.flat = {name: values[readings] for name, values in self.flat.items()}
            self._keep(np.flatnonzero(good))

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Runs of rows with the same number of readings: (first, behind the last, readings)."""
        edges = (np.flatnonzero(np.diff(self.count)) + 1).tolist()
        for a, b in zip([0, *edges], [*edges, len(self.count)], strict=True):
            if b > a:
                yield a, b, int(self.count[a])

    def _number(self, word: U64) -> tuple[U64, NDArray[np.uint8]]:
        """The unsigned number that each word begins with, and its bytes."""
        stop, mask = split(word)
        np.minimum(self._stop, stop, out=self._stop)
        return close(word & mask), length(mask)

    def _clamp(self, at: Ints) -> None:
        # one byte behind the buffer is behind every datum's end, and stays so
        self._at = np.minimum(at, self._words.size + 1)

    def _long(self) -> Ints:
        value, size = self._number(self._words.at(self._at))
        self._at = self._at + size
        return zigzag(value)

    def _text(self, name: str) -> None:
        begin = self._at
        value, size = self._number(self._words.at(begin))
        self._fault |= value & _ONE
        self._clamp(begin + size + (value >> _ONE).view(np.int64))
        self.column[name], self.column[f"{name}_size"] = begin, self._at - begin

    def _optional_text(self, name: str) -> None:
        begin = self._at
        word = self._words.at(begin)
        branch = word & _BYTE
        self._fault |= branch & ~np.uint64(2)
        present = (branch >> _ONE).view(np.int64)
        # seven bytes are left of the word; a length that does not end in them is not ordinary
        value, size = self._number((word >> _EIGHT) | _LAST)
        self._fault |= value & present.view(np.uint64)
        self._clamp(begin + 1 + present * (size + (value >> _ONE).view(np.int64)))
        self.column[name], self.column[f"{name}_size"] = begin, self._at - begin

    def _first_array(self) -> None:
        """Read the number of readings; put the rows in its order and leave those of rare sizes out.

        An array's end stays unread, `_open`, until the next field: mostly it is checked together with the next count.
        """
        word = self._words.at(self._at)
        stop, mask = split(word)
        value, size = close(word & mask), length(mask)
        count = (value >> _ONE).view(np.int64)
        good = (self._fault == 0) & (self._stop != 0) & (stop != 0) & (value & _ONE == 0) & (size <= 2)
        good &= (count > 0) & (count <= MAX_COUNT)
        many = np.sort(count[good])[::-1]
        good &= count <= (many[self._few] if len(many) > self._few else 0)
        self._at = self._at + size
        self._open = True
        self.count = count
        self._head = ((mask << _EIGHT) | _BYTE, (word & mask) << _EIGHT, size)
        if not good.all() or np.any(count[1:] != count[:-1]):
            kept = np.flatnonzero(good)
            self._keep(kept[np.argsort(-count[kept], kind="stable")])
        most = int(self.count[0]) if len(self.count) else 0
        self._active = np.searchsorted(-self.count, -np.arange(most), side="left").tolist()
        if most and self.count[-1] < most:
            begin = offsets(self.count)[:-1]
            number = np.arange(sum(self._active)) - np.repeat(begin, self.count)
            self._turn = offsets(np.array(self._active))[number] + np.repeat(np.arange(len(self.row)), self.count)

    def _next_array(self) -> None:
        """Step over the end of the last array and a count, which must be that of the first array to the byte."""
        mask, head, size = self._head
        at = self._at
        if not self._open:
            mask, at = mask ^ _BYTE, at - 1
        self._fault |= (self._words.at(at) ^ head) & mask
        self._clamp(at + size + 1)
        self._open = True

    def _close_array(self) -> None:
        if self._open:
            self._fault |= self._words.raw.take(self._at)
            self._at = self._at + 1
            self._open = False

    def _fixed(self, width: int) -> NDArray[np.uint8]:
        """The bytes of all readings, *width* each, and step over them."""
        found = [self._words.rows(self._at[a:b], width * count).view(np.uint8) for a, b, count in self.groups()]
        self._at = self._at + width * self.count
        return found[0] if len(found) == 1 else np.concatenate([*found, np.empty(0, np.uint8)])

    def _codes(self, name: str) -> None:
        if name == "kind":
            self._first_array()
        else:
            self._next_array()
        code = self._fixed(1)
        long = code > 0x7F
        if long.any():
            self._fault[np.repeat(np.arange(len(self.row)), self.count)[long]] = 1
        sign = code & 1
        np.negative(sign, out=sign)
        code >>= 1
        code ^= sign
        self.flat[name] = code.view(np.int8).astype(np.int64)

    def _floats(self, name: str) -> None:
        self._next_array()
        self.flat[name] = self._fixed(4).view("<f4").astype(np.float32, copy=False)

    def _longs(self, name: str) -> None:
        self._next_array()
        found = np.empty(sum(self._active), np.uint64)
        at = self._at.copy()
        longest = np.zeros(len(at), np.uint8)
        first = 0
        for many in self._active:
            word = self._words.at(at[:many])
            mask = split(word)[1]
            size = length(mask)
            np.maximum(longest[:many], size, out=longest[:many])
            at[:many] += size
            np.bitwise_and(word, mask, out=found[first : first + many])
            first += many
        # a mask over all eight bytes may stand for a longer number
        self._fault |= longest > 7
        self._at = at
        self.flat[name] = self._by_row(zigzag(close(found)))

    def _by_row(self, values: Ints) -> Ints:
        """Values that lie first readings first, in the order of rows."""
        if self._turn is None:
            return values.reshape(len(self._active), len(self.row)).T.ravel()
        return values.take(self._turn)

    def _devices(self, name: str) -> None:
        self._next_array()
        begin = self._at - self._head[2]
        self._at = self._names(self._at, self._active, self._fault)
        size = self._at - begin
        self._fault |= size > MAX_BLOCK_BYTES
        self.column[name], self.column[f"{name}_size"] = begin, size

    def _names(self, at: Ints, active: list[int], fault: U64) -> Ints:
        """Step over strings of less than 64 bytes: one each for the first `active[0]` rows, then for `active[1]` …"""
        at = at.copy()
        for many in active:
            size = self._words.raw.take(at[:many])
            fault[:many] |= size & 0x81
            size >>= 1
            at[:many] += size
            at[:many] += 1
        return at

    def _flags(self, name: str) -> None:
        """Step over the flags, and close their array: mostly there are none."""
        self._close_array()
        begin = self._at
        count = self._words.raw.take(begin)
        self._fault |= count & 0x81
        self._clamp(begin + 1)
        size = np.zeros(len(begin), np.int64)
        flagged = np.flatnonzero(count)
        if len(flagged):
            flagged = flagged[np.argsort(-(count[flagged] >> 1).astype(np.int64), kind="stable")]
            many = (count[flagged] >> 1).astype(np.int64)
            active = np.searchsorted(-many, -np.arange(many[0]), side="left").tolist()
            fault = self._fault[flagged]
            end = self._names(self._at[flagged], active, fault)
            size[flagged] = end - begin[flagged]
            fault |= size[flagged] > MAX_BLOCK_BYTES
            fault |= self._words.raw[end]
            self._fault[flagged] = fault
            self._at[flagged] = end + 1
        self.column[name], self.column[f"{name}_size"] = begin, size

    def _skip(self, step: Step) -> None:
        """Step over a field that is no column, `skip_if_N`: one that is there in the union's branch N only."""
        at = self._at
        if step.walk == "skip":
            advance, fault, stop = self._extent(step.column, at)
            self._clamp(at + advance)
        else:
            branch = self._words.raw[at]
            self._fault |= branch & 0xFD
            there = branch >> 1 == int(step.walk[-1])
            advance, fault, stop = self._extent(step.column, at + 1)
            fault, stop = np.where(there, fault, 0), np.where(there, stop, _ENDLESS)
            self._clamp(at + 1 + np.where(there, advance, 0))
        self._fault |= fault
        np.minimum(self._stop, stop, out=self._stop)

    def _extent(self, kind: str, at: Ints) -> tuple[Ints, U64, U64]:
        """Of a value that is not kept: its bytes, what is wrong (0: nothing), its stop bits (0: it has no end)."""
        endless = np.full(len(at), _ENDLESS)
        if kind in _WIDTHS:
            wrong = self._words.raw[at] & (0xFE if kind == "boolean" else 0)
            return np.full(len(at), _WIDTHS[kind]), wrong.astype(np.uint64), endless
        word = self._words.at(at)
        stop, mask = split(word)
        value, size = close(word & mask), length(mask).astype(np.int64)
        if kind in ("int", "long"):
            return size, value >> np.uint64(32 if kind == "int" else 63), stop
        odd, text = value & _ONE, (value >> _ONE).view(np.int64)
        if kind == "string":
            odd |= self._not_ascii(at + size, text)
        return size + text, odd, stop

    def _not_ascii(self, at: Ints, size: Ints) -> U64:
        """What is not 0 for strings that are too long, or not ASCII, to be known as UTF-8 here."""
        wrong = (size > _MAX_SKIPPED_TEXT).astype(np.uint64)
        size = np.minimum(size, _MAX_SKIPPED_TEXT)
        for column in range(0, int(size.max(initial=0)), 8):
            wrong |= self._words.at(at + column) & TAIL[np.clip(size - column, 0, 8)] & _HIGH
        return wrong

    def _keep(self, rows: NDArray[np.intp]) -> None:
        """Only those rows, in that order."""
        self.row, self._at, self._end = self.row[rows], self._at[rows], self._end[rows]
        self._fault, self._stop, self.count = self._fault[rows], self._stop[rows], self.count[rows]
        self.column = {name: values[rows] for name, values in self.column.items()}
        mask, head, size = self._head
        self._head = mask[rows], head[rows], size[rows]
