"""The as-of join of keyed slots with a broadcast bitemporal table: what counts, and what a better record changes."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.asof import AsOfTable

Ints = NDArray[np.int64]
Record = TypeVar("Record", bound=Hashable)

NO_RECORD = -1
"""Stands for the index of a record where there is none."""

KEY_BITS = 20
"""Keys are dense codes below 2^20."""

_KEYS = (1 << KEY_BITS) - 1


class Change(NamedTuple):
    """The record of a key's slot went from one to another, by index."""

    key: int
    slot: int
    before: int
    after: int


class AsOfJoin(Generic[Record]):
    """The record that counts for each (key, slot) in use; a slot is in use from its first `lookup` on.

    Every shard of a job holds one and is sent every record. So that what was joined before can be restated, `add` says
    which of the slots in use a record changes.

    Guarantee: what `lookup` gives depends on the set of records only, not on their order, repeats, or when it is asked;
    the changes that `add` gave lead from what it said before to what it says now.

    Args:
        rank: Any ordered value of (record, level), the greatest counts; *level* is the position of the record's group
            among those that the key falls back to. Equal ranks must mean equal records.
        groups: The groups of records that a key's name falls back to, best first.
    """

    def __init__(
        self, rank: Callable[[Record, int], tuple[object, ...]], groups: Callable[[str], Sequence[str]]
    ) -> None:
        self._table: AsOfTable[Record] = AsOfTable(rank)
        self._groups = groups
        self._seen: dict[Record, tuple[str, int, int]] = {}
        self._of_key: dict[int, Sequence[str]] = {}
        self._used: dict[int, int] = {}  # slot << KEY_BITS | key → index
        self._by_group: defaultdict[str, set[int]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"<AsOfJoin {len(self._seen)} records, {len(self._used)} slots in use>"

    def __getitem__(self, index: int) -> Record:
        return self._table.records[index]

    def add(self, record: Record, group: str, first_slot: int, end_slot: int) -> list[Change]:
        """Take a record that holds in [first_slot, end_slot); what it changes among the slots in use, by slot and key.

        A repeat changes nothing.
        """
        if record in self._seen:
            return []
        self._seen[record] = (group, first_slot, end_slot)
        self._table.add(record, group, first_slot, end_slot)
        changes = []
        for used in sorted(self._by_group.get(group, ())):
            slot, key = used >> KEY_BITS, used & _KEYS
            if not first_slot <= slot < end_slot:
                continue
            before, after = self._used[used], self._table.best(self._of_key[key], slot)
            if before != after:
                self._used[used] = after
                changes.append(Change(key, slot, before, after))
        return changes

    def lookup(self, names: Sequence[str], key: Ints, slot: Ints) -> Ints:
        """For each (key, slot) the index of the record that counts, NO_RECORD if none; *names* gives the keys' names.

        Raises:
            ValueError: A key is no code below 2^20.
        """
        if len(key) and (int(key.min()) < 0 or int(key.max()) > _KEYS):
            raise ValueError(f"keys {key.min()} … {key.max()}; an as-of join takes codes below 2^{KEY_BITS}")
        asked, place = np.unique(slot << KEY_BITS | key, return_inverse=True)
        found = [self._used[used] if used in self._used else self._use(names, used) for used in asked.tolist()]
        return np.array(found, np.int64)[place]

    def forget_before(self, slot: int) -> None:
        """Slots before *slot* are in use no more: their joins are settled."""
        for used in [used for used in self._used if used >> KEY_BITS < slot]:
            del self._used[used]
            for group in self._of_key[used & _KEYS]:
                self._by_group[group].discard(used)

    def dump(self) -> tuple[Any, ...]:
        """The records in their order, so that indices hold, and the slots in use: plain if the records are tuples."""
        records = tuple((record, *self._seen[record]) for record in self._table.records)
        groups = tuple((key, tuple(groups)) for key, groups in sorted(self._of_key.items()))
        return (records, groups, tuple(sorted(self._used.items())))

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave, into an empty one."""
        records, groups, used = state
        for record, *place in records:
            self.add(record, *place)
        self._of_key = dict(groups)
        self._used = dict(used)
        for each in self._used:
            for group in self._of_key[each & _KEYS]:
                self._by_group[group].add(each)

    def _use(self, names: Sequence[str], used: int) -> int:
        key = used & _KEYS
        if key not in self._of_key:
            self._of_key[key] = tuple(self._groups(names[key]))
        found = self._used[used] = self._table.best(self._of_key[key], used >> KEY_BITS)
        for group in self._of_key[key]:
            self._by_group[group].add(used)
        return found
