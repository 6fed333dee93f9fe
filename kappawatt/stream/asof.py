"""A bitemporal side table: which record counts at an instant, when better ones keep arriving."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Record = TypeVar("Record")

LONG = 1_000
"""Records that hold for more slots than this are kept in a list and tried one by one: a year is 105,120 of 5 min."""


class AsOfTable(Generic[Record]):
    """Records by group and half-open slot range; `best` picks by a rank, so the order of arrival does not matter.

    *rank(record, level)* is any ordered value, the greatest counts; *level* is the position of the record's group in
    the fallbacks asked for. Equal ranks must mean equal records.
    """

    def __init__(self, rank: Callable[[Record, int], tuple[object, ...]]) -> None:
        self._rank = rank
        self._by_slot: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._long: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
        self._free: list[int] = []
        self._forgotten = -1 << 31
        self.records: list[Record] = []
        """By index."""

    def __repr__(self) -> str:
        return f"<AsOfTable {len(self.records)} records>"

    def add(self, record: Record, group: str, first_slot: int, end_slot: int) -> int:
        """Take a record that holds in [first_slot, end_slot) and return its index."""
        index = self.hold(record)
        if end_slot - first_slot > LONG:
            self._long[group].append((first_slot, end_slot, index))
            return index
        slots = self._by_slot[group]
        for slot in range(max(first_slot, self._forgotten), end_slot):
            slots[slot].append(index)
        return index

    def hold(self, record: Record) -> int:
        """Keep a record that counts nowhere, in the first free place, and return its index."""
        if not self._free:
            self.records.append(record)
            return len(self.records) - 1
        index = heapq.heappop(self._free)
        self.records[index] = record
        return index

    def replace(self, index: int, record: Record) -> None:
        """Put *record* where another was whose slots are all forgotten; the place is free from now on."""
        self.records[index] = record
        heapq.heappush(self._free, index)

    def forget_before(self, slot: int) -> None:
        """Answer no more for slots before *slot*."""
        gone = range(self._forgotten, slot)
        self._forgotten = slot
        for group, slots in list(self._by_slot.items()):
            for each in gone if len(gone) < len(slots) else [each for each in slots if each < slot]:
                slots.pop(each, None)
            if not slots:
                del self._by_slot[group]
        for group, spans in list(self._long.items()):
            self._long[group] = [span for span in spans if span[1] > slot]
            if not self._long[group]:
                del self._long[group]

    def best(self, groups: Sequence[str], slot: int) -> int:
        """The index of the record that counts at *slot* for the groups in order of preference; −1 if there is none."""
        found, top = -1, None
        for level, group in enumerate(groups):
            for index in self._candidates(group, slot):
                rank = self._rank(self.records[index], level)
                if top is None or rank > top:
                    found, top = index, rank
        return found

    def _candidates(self, group: str, slot: int) -> list[int]:
        slots = self._by_slot.get(group)
        near = slots.get(slot, []) if slots else []
        return near + [index for first, end, index in self._long.get(group, ()) if first <= slot < end]
