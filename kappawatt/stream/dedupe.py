"""Exact deduplication by (producer, sequence number), in any order, with one merged range as the usual state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.packing import pack, unpack

Ints = NDArray[np.int64]
Range = tuple[int, int]

_NONE = np.iinfo(np.int64).min
_SEVERAL = _NONE + 1
_LAST = np.iinfo(np.int64).max
"""What ends in neither of these has a follower, and is no mark."""


def merge_ranges(first: list[Range], second: list[Range]) -> list[Range]:
    """Two lists of closed ranges as one, sorted, neighbours joined.

    >>> merge_ranges([(0, 3), (7, 7)], [(4, 5), (9, 9)])
    [(0, 5), (7, 7), (9, 9)]
    """
    merged: list[Range] = []
    for low, high in sorted(first + second):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _in_order(producer: Ints, seq: Ints, producers: int) -> NDArray[np.intp]:
    """Rows by producer, number and arrival; *producers* is their number."""
    few = producer.astype(np.min_scalar_type(producers))  # small integers are sorted in one pass
    order = np.argsort(few, kind="stable")
    code, number = few[order], seq[order]
    if np.any((code[1:] == code[:-1]) & (number[1:] < number[:-1])):
        return np.lexsort((seq, few))
    return order


def _runs(code: Ints, number: Ints) -> tuple[Ints, Ints, Ints]:
    """Ascending distinct numbers of each producer as closed ranges: producer, low, high."""
    goes_on = (code[1:] == code[:-1]) & (number[1:] == number[:-1] + 1)
    begin = np.concatenate(([True], ~goes_on))
    return code[begin], number[begin], number[np.concatenate((~goes_on, [True]))]


def _within(ranges: list[Range], numbers: Ints) -> NDArray[np.bool_]:
    """Which numbers lie in one of the sorted ranges, of which there is one at least."""
    low, high = np.array(ranges, np.int64).T
    at = low.searchsorted(numbers, side="right") - 1
    found: NDArray[np.bool_] = (at >= 0) & (numbers <= high[at])  # before all of them it is -1: no matter which
    return found


class Deduper:
    """The sequence numbers seen of each producer (by its dense code), as merged ranges.

    Guarantee: of records with one (producer, seq) exactly the first is fresh, whatever lies between them.
    """

    def __init__(self) -> None:
        self._low = np.zeros(16, np.int64)
        self._high = np.full(16, _NONE, np.int64)  # of a producer with one range its ends; or a mark
        self._several: dict[int, list[Range]] = {}
        self._size = 0
        self.gappy: set[int] = set()  # producers with several ranges: some numbers are missing between them

    def __repr__(self) -> str:
        one = int(np.count_nonzero(self._high > _SEVERAL))
        return f"<Deduper {self._size} producers, {one + sum(map(len, self._several.values()))} ranges>"

    def admit(self, producer: Ints, seq: Ints) -> NDArray[np.bool_]:
        """Which records are fresh; they count as seen from now on."""
        fresh = np.zeros(len(seq), bool)
        if len(seq) == 0:
            return fresh
        self._grow(int(producer.max()) + 1)
        order = _in_order(producer, seq, self._size)
        code, number = producer[order], seq[order]
        new = ~self._has(code, number)
        new[1:] &= (code[1:] != code[:-1]) | (number[1:] != number[:-1])
        fresh[order[new]] = True
        if new.any():
            self._add(*_runs(code[new], number[new]))
        return fresh

    def lost(self, producer: int) -> int:
        """How many numbers between the smallest and the greatest seen are missing."""
        ranges = self._several.get(producer)
        if not ranges:
            return 0
        return ranges[-1][1] - ranges[0][0] + 1 - sum(high - low + 1 for low, high in ranges)

    def forget(self, producer: int) -> None:
        """Forget all of a producer: only when none of its records can be accepted any more."""
        self._note(producer, [])

    def ranges(self, producer: int) -> list[Range]:
        """What was seen of a producer."""
        high = int(self._high[producer])
        if high > _SEVERAL:
            return [(int(self._low[producer]), high)]
        return list(self._several.get(producer, ()))

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        if self._size == 0:
            return (0,)
        low, high = self._low[: self._size], self._high[: self._size]
        one = high > _SEVERAL
        blank = np.flatnonzero(high == _NONE)
        several = {producer: tuple(ranges) for producer, ranges in sorted(self._several.items())}
        return (self._size, pack(np.where(one, low, 0)), pack(np.where(one, high, 0)), blank, several)

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave, or lists of ranges by producer, as it was in format 8 of the flow's state."""
        if isinstance(state, list):
            self._grow(len(state))
            for producer, ranges in enumerate(state):
                self._note(producer, [(int(low), int(high)) for low, high in ranges])
        elif state[0]:
            size, low, high, blank, several = state
            self._grow(size)
            self._low[:size], self._high[:size] = unpack(low, size), unpack(high, size)
            self._high[blank] = _NONE
            for producer, ranges in several.items():
                self._note(producer, list(ranges))

    def _has(self, code: Ints, number: Ints) -> NDArray[np.bool_]:
        """Which numbers were seen; *code* ascends."""
        high = self._high[code]
        seen = (self._low[code] <= number) & (number <= high)  # for marks never, as `low` is 0 there
        gappy = np.unique(code[high == _SEVERAL])
        first, behind = code.searchsorted(gappy), code.searchsorted(gappy, side="right")
        for producer, begin, end in np.stack((gappy, first, behind), axis=1).tolist():
            seen[begin:end] = _within(self._several[producer], number[begin:end])
        return seen

    def _add(self, code: Ints, low: Ints, high: Ints) -> None:
        """Ranges of what is new, in order; mostly one a producer, which follows on what was seen or is the first."""
        known = self._high[code]
        other = code[1:] != code[:-1]
        plain = np.concatenate(([True], other)) & np.concatenate((other, [True]))
        begins = known == _NONE
        plain &= begins | (known > _SEVERAL) & (known == low - 1)
        plain &= (high > _SEVERAL) & (high < _LAST)
        self._low[code[plain & begins]] = low[plain & begins]
        self._high[code[plain]] = high[plain]
        rest: dict[int, list[Range]] = {}
        for producer, *ends in np.stack((code, low, high), axis=1)[~plain].tolist():
            rest.setdefault(producer, []).append((ends[0], ends[1]))
        for producer, ranges in rest.items():
            self._note(producer, merge_ranges(self.ranges(producer), ranges))

    def _note(self, producer: int, ranges: list[Range]) -> None:
        self._several.pop(producer, None)
        self.gappy.discard(producer)
        if not ranges:
            self._low[producer], self._high[producer] = 0, _NONE
        elif len(ranges) == 1 and _SEVERAL < ranges[0][1] < _LAST:
            self._low[producer], self._high[producer] = ranges[0]
        else:
            self._several[producer] = ranges
            self._low[producer], self._high[producer] = 0, _SEVERAL
            if len(ranges) > 1:
                self.gappy.add(producer)

    def _grow(self, producers: int) -> None:
        self._size = max(self._size, producers)
        if producers > len(self._high):
            more = max(producers, 2 * len(self._high)) - len(self._high)
            self._low = np.concatenate((self._low, np.zeros(more, np.int64)))
            self._high = np.concatenate((self._high, np.full(more, _NONE, np.int64)))
