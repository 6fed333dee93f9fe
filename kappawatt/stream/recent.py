"""Exact deduplication of records that have no sequence number: by (key, instant), as far back as a horizon."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.table import KeyedTable

Ints = NDArray[np.int64]

KEY_BITS = 20
"""Keys are dense codes below 2^20; instants of one slot take the other 43 bits."""


class RecentSet:
    """Which (key, instant) were seen, by time slots, so that the old can be forgotten.

    Where records carry a sequence number, `Deduper` does the same with one range a producer, and needs no horizon.

    Args:
        slot: Length of a slot in the unit of the instants, at most 2^43: what is forgotten at a time.
    """

    def __init__(self, slot: int) -> None:
        if not 0 < slot <= 1 << (63 - KEY_BITS):
            raise ValueError(f"a slot of {slot} units; it takes 1 to 2^{63 - KEY_BITS}")
        self._slot = slot
        self._slots: dict[int, KeyedTable] = {}

    def __repr__(self) -> str:
        return f"<RecentSet {len(self)} records in {len(self._slots)} slots>"

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def admit(self, key: Ints, instant: Ints) -> NDArray[np.bool_]:
        """Which rows are fresh, of equal ones the first; they count as seen from now on.

        Raises:
            ValueError: A key is no code below 2^20.
        """
        fresh = np.zeros(len(key), bool)
        if len(key) == 0:
            return fresh
        if int(key.min()) < 0 or int(key.max()) >= 1 << KEY_BITS:
            raise ValueError(f"keys {key.min()} … {key.max()}; a set of recent records takes codes below 2^{KEY_BITS}")
        slot = instant // self._slot
        packed = (instant - slot * self._slot) << KEY_BITS | key
        order = np.argsort(slot, kind="stable")
        edges = np.flatnonzero(np.diff(slot[order])) + 1
        for rows in np.split(order, edges):
            fresh[rows] = self._admit_to(int(slot[rows[0]]), packed[rows])
        return fresh

    def forget_before(self, instant: int) -> None:
        """Forget the slots that end at *instant* or before: only when none of their records is accepted any more."""
        for slot in [slot for slot in self._slots if (slot + 1) * self._slot <= instant]:
            del self._slots[slot]

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        return tuple((slot, self._slots[slot].key.copy()) for slot in sorted(self._slots))

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        for slot, packed in state:
            self._admit_to(slot, packed)

    def _admit_to(self, slot: int, packed: Ints) -> NDArray[np.bool_]:
        table = self._slots.setdefault(slot, KeyedTable({}))
        unique, first = np.unique(packed, return_index=True)
        _, known = table.find(unique)
        table.merge(unique[~known], {})
        fresh = np.zeros(len(packed), bool)
        fresh[first[~known]] = True
        return fresh
