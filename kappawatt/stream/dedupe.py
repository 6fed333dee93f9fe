"""Exact deduplication by (producer, sequence number), in any order, with one merged range as the usual state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Range = tuple[int, int]

_NONE = np.iinfo(np.int64).min
_SEVERAL = _NONE + 1
_LAST = np.iinfo(np.int64).max


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


def _runs(numbers: Ints) -> list[Range]:
    """Ascending distinct numbers as closed ranges."""
    if len(numbers) == 0:
        return []
    begins = np.concatenate(([True], numbers[1:] != numbers[:-1] + 1))
    ends = np.concatenate((begins[1:], [True]))
    return list(zip(numbers[begins].tolist(), numbers[ends].tolist(), strict=True))


def _within(ranges: list[Range], numbers: Ints) -> NDArray[np.bool_]:
    """Which numbers lie in one of the sorted ranges."""
    if not ranges:
        return np.zeros(len(numbers), bool)
    low, high = np.array(ranges, np.int64).T
    at = np.searchsorted(low, numbers, side="right") - 1
    found: NDArray[np.bool_] = (at >= 0) & (numbers <= high[np.maximum(at, 0)])
    return found


def _watched(high: int) -> int:
    """What is noted for a range's end: a number that has a follower and is no mark, else that it must be looked up."""
    return high if _SEVERAL < high < _LAST else _SEVERAL


class Deduper:
    """The sequence numbers seen of each producer (by its dense code), as merged ranges.

    Guarantee: of records with one (producer, seq) exactly the first is fresh, whatever lies between them.
    """

    def __init__(self) -> None:
        self._high = np.full(16, _NONE, np.int64)  # greatest seq of a producer with exactly one range
        self._ranges: list[list[Range]] = []
        self.gappy: set[int] = set()  # producers with several ranges: some numbers are missing between them

    def __repr__(self) -> str:
        return f"<Deduper {len(self._ranges)} producers, {sum(map(len, self._ranges))} ranges>"

    def admit(self, producer: Ints, seq: Ints) -> NDArray[np.bool_]:
        """Which records are fresh; they count as seen from now on."""
        fresh = np.ones(len(seq), bool)
        if len(seq) == 0:
            return fresh
        self._grow(int(producer.max()) + 1)
        order = np.argsort(producer, kind="stable")
        code, number = producer[order], seq[order]
        first = np.flatnonzero(np.concatenate(([True], code[1:] != code[:-1])))
        last = np.concatenate((first[1:], [len(code)])) - 1
        steady = self._follows_on(code, number, first)
        for group in np.flatnonzero(steady).tolist():
            self._extend(int(code[first[group]]), int(number[first[group]]), int(number[last[group]]))
        for group in np.flatnonzero(~steady).tolist():
            rows = order[first[group] : last[group] + 1]
            fresh[rows] = self._admit_some(int(code[first[group]]), seq[rows])
        return fresh

    def lost(self, producer: int) -> int:
        """How many numbers between the smallest and the greatest seen are missing."""
        ranges = self._ranges[producer] if producer < len(self._ranges) else []
        if not ranges:
            return 0
        return ranges[-1][1] - ranges[0][0] + 1 - sum(high - low + 1 for low, high in ranges)

    def forget(self, producer: int) -> None:
        """Forget all of a producer: only when none of its records can be accepted any more."""
        self._ranges[producer] = []
        self._note(producer, [])

    def dump(self) -> list[list[Range]]:
        """The ranges by producer code, an independent copy."""
        return [list(ranges) for ranges in self._ranges]

    def load(self, state: Sequence[Sequence[Any]]) -> None:
        """Take over what `dump` gave."""
        self._grow(len(state))
        for producer, ranges in enumerate(state):
            self._ranges[producer] = [(int(low), int(high)) for low, high in ranges]
            self._note(producer, self._ranges[producer])

    def _admit_some(self, producer: int, seq: Ints) -> NDArray[np.bool_]:
        """Any numbers of one producer, in the order of arrival."""
        numbers, first = np.unique(seq, return_index=True)
        ranges = self._ranges[producer]
        new = ~_within(ranges, numbers)
        fresh = np.zeros(len(seq), bool)
        fresh[first[new]] = True
        self._ranges[producer] = merge_ranges(ranges, _runs(numbers[new]))
        self._note(producer, self._ranges[producer])
        return fresh

    def _follows_on(self, code: Ints, number: Ints, first: Ints) -> NDArray[np.bool_]:
        """Per group of one producer: numbers go up by one, starting behind the only range seen."""
        step = np.ones(len(code), bool)
        step[1:] = number[1:] == number[:-1] + 1
        known = self._high[code[first]]
        step[first] = (number[first] == known + 1) & (known > _SEVERAL) | (known == _NONE)
        rises = np.append(number[first[1:] - 1], number[-1]) >= number[first]  # past the greatest, a step wraps round
        return np.logical_and.reduceat(step, first) & rises

    def _note(self, producer: int, ranges: list[Range]) -> None:
        if len(ranges) > 1:
            self.gappy.add(producer)
            self._high[producer] = _SEVERAL
            return
        self.gappy.discard(producer)
        self._high[producer] = _watched(ranges[0][1]) if ranges else _NONE

    def _extend(self, producer: int, low: int, high: int) -> None:
        ranges = self._ranges[producer]
        self._ranges[producer] = [(ranges[0][0] if ranges else low, high)]
        self._high[producer] = _watched(high)

    def _grow(self, producers: int) -> None:
        while len(self._ranges) < producers:
            self._ranges.append([])
        if producers > len(self._high):
            high = np.full(max(producers, 2 * len(self._high)), _NONE, np.int64)
            high[: len(self._high)] = self._high
            self._high = high
