"""The cells of a shard: by 5 s while their row may change, by 5 min up to the horizon (docs/semantics.md §2)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import RUN_SHIFT, WINDOW_SHIFT, ZONE_MASK, cell_key, row_key, run_of, window_of, with_window
from kappawatt.ledger.windows import Parts, Windows
from kappawatt.stream.table import Column, KeyedTable, distinct, reduce_by_key
from kappawatt.units import WINDOW_5M_US, WINDOW_5S_US

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PER_SLOT = WINDOW_5M_US // WINDOW_5S_US
_SUMS = {"energy_uj": Column("sum", 8), "water_ul": Column("sum")}
_CELLS = {**_SUMS, "kept": Column("max")}
_SLOTS = {**_SUMS, "settled": Column("sum"), "closed": Column("max")}


class Booked(NamedTuple):
    """Cells of one fold by (slot, run, zone): their keys, what they add, and which of them the slots did not have."""

    key: Ints
    energy_uj: Ints
    water_ul: Ints
    fresh: Bools


class Closed(NamedTuple):
    """5-s cells that will not change any more."""

    key: Ints
    energy_uj: Ints
    water_ul: Ints


class Cells:
    """Energies by `window << 32 | run << 12 | zone`, twice.

    `fine` has the 5-s cells whose row may still change, and (`kept`) those of final rows that cannot be priced anew
    from what the row itself says: several zones share it, or site water is in it. `slots` has everything by
    5 min; there `settled` has a bit for each 5-s window that left `fine`, `closed` says that some cell in it is final.
    """

    def __init__(self) -> None:
        self.fine = KeyedTable(_CELLS)
        self.slots = KeyedTable(_SLOTS)

    def __repr__(self) -> str:
        return f"<Cells {len(self.fine)} of 5 s, {len(self.slots)} of 5 min>"

    def add(self, parts: Parts, late: Bools) -> Booked:
        """Take parts; those that are late for their 5-s row are in the slots only."""
        cell = cell_key(parts.window, parts.run, parts.zone)
        fine = ~late
        if fine.any():
            self.fine.merge(cell[fine], {"energy_uj": parts.energy_uj[fine], "water_ul": parts.water_ul[fine]})
        sums = {"energy_uj": parts.energy_uj, "water_ul": parts.water_ul}
        slot, sums = reduce_by_key(with_window(cell, PER_SLOT), sums, _SUMS)
        _, known = self.slots.find(slot)
        self.slots.merge(slot, sums)
        if late.any():
            self._close(cell[late])
        return Booked(slot, sums["energy_uj"], sums["water_ul"], ~known)

    def settle(self, windows: Windows, before: int) -> Closed:
        """Take the cells of final rows, and of windows before *before*, out of `fine`, with the rows; the rest is kept.

        The rows must have been given out.
        """
        key = self.fine.key
        at, _ = windows.rows.find(row_key(key))
        final = (windows.rows.take("final", at) == 1) | (window_of(key) < before) if len(key) else np.zeros(0, bool)
        due = np.flatnonzero(final & self.fine.has("kept", 0))
        closed = Closed(key[due], self.fine.take("energy_uj", due), self.fine.take("water_ul", due))
        if len(due) == 0:
            return closed
        self._close(closed.key)
        stays = _is_mixed(row_key(closed.key), closed.water_ul)
        self.fine.put("kept", due[stays], 1)
        self._settle(windows, due[~stays])
        return closed

    def of_slots(self, changed: Ints) -> tuple[Ints, Ints]:
        """Keys of 5-s cells and of slots in *changed* `slot << 12 | zone`s, which are ascending."""
        fine = self.fine.key
        near = fine[np.isin(in_zone(with_window(fine, PER_SLOT)), changed)]
        low = distinct(changed >> RUN_SHIFT) << WINDOW_SHIFT
        at, _ = self.slots.between(low, low + (1 << WINDOW_SHIFT))
        key = self.slots.key[at]
        return near, key[np.isin(in_zone(key), changed)]

    def settled(self, slot_key: Ints) -> Ints:
        """Those of some slots that have rows which left `fine`."""
        at, _ = self.slots.find(slot_key)
        found: Ints = slot_key[self.slots.take("settled", at) != 0]
        return found

    def open_cells(self, runs: Ints) -> Closed:
        """The 5-s cells of some runs that are not closed."""
        at = np.flatnonzero(self.fine.has("kept", 0) & in_runs(self.fine.key, runs))
        return Closed(self.fine.key[at], self.fine.take("energy_uj", at), self.fine.take("water_ul", at))

    def forget_before(self, window: int) -> None:
        """Drop what lies before a 5-s window, on the edge of an hour; it must be settled."""
        self.fine.drop(window_of(self.fine.key) < window)
        self.slots.drop(window_of(self.slots.key) < window // PER_SLOT)

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return (self.fine.dump(), self.slots.dump())

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        self.fine.load(state[0])
        self.slots.load(state[1])

    def _close(self, cell: Ints) -> None:
        at, known = self.slots.find(distinct(with_window(cell, PER_SLOT)))
        self.slots.put("closed", at[known], 1)

    def _settle(self, windows: Windows, due: Ints) -> None:
        key = self.fine.key[due].copy()
        bit = np.int64(1) << (window_of(key) % PER_SLOT)
        slot, sums = reduce_by_key(with_window(key, PER_SLOT), {"settled": bit}, _SLOTS)
        at, _ = self.slots.find(slot)
        self.slots.put("settled", at, self.slots.take("settled", at) | sums["settled"])
        gone = np.zeros(len(self.fine), bool)
        gone[due] = True
        self.fine.drop(gone)
        at, known = windows.rows.find(row_key(key))
        gone = np.zeros(len(windows.rows), bool)
        gone[at[known]] = True
        windows.rows.drop(gone)


def closed(parts: Parts) -> Closed:
    """Parts that come too late for their 5-s rows, added up by cell."""
    sums = {"energy_uj": parts.energy_uj, "water_ul": parts.water_ul}
    key, sums = reduce_by_key(cell_key(parts.window, parts.run, parts.zone), sums, _SUMS)
    return Closed(key, sums["energy_uj"], sums["water_ul"])


def in_runs(key: Ints, runs: Ints) -> Bools:
    """Which keys of cells or rows belong to the runs (codes)."""
    return np.isin(run_of(key), runs)


def in_zone(slot_key: Ints) -> Ints:
    """`slot << 12 | zone` of the keys of slots: what a price is about."""
    return window_of(slot_key) << RUN_SHIFT | slot_key & ZONE_MASK


def _is_mixed(row: Ints, water_ul: Ints) -> Bools:
    """By cell, ascending, whether its row has several cells, or site water."""
    first = np.flatnonzero(np.concatenate(([True], row[1:] != row[:-1])))
    count = np.diff(np.append(first, len(row)))
    wet = np.add.reduceat((water_ul > 0).astype(np.int64), first) > 0
    mixed: Bools = np.repeat((count > 1) | wet, count)
    return mixed
