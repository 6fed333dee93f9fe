"""What lies beyond the horizon keeps the price that it had; here is noted whose energy that is, and where."""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.grid import fallbacks
from kappawatt.ledger.keys import RUN_SHIFT, WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import UNPRICED, Price, PriceBook, beats
from kappawatt.stream.intern import Interner
from kappawatt.stream.table import Column, KeyedTable
from kappawatt.units import WINDOW_5M_US

Ints = NDArray[np.int64]

_ZONE_SHIFT, _RUN_SHIFT = 31, 31 + RUN_SHIFT


class Stretch(NamedTuple):
    """Slots [first, end) in which a run has energy of a zone under a record (None: unpriced)."""

    run: int
    zone: str
    first: int
    end: int
    price: Price | None


class Frozen:
    """First and last slot of a run's energy by `run << 43 | zone << 31 | price + 1`; its sums are kept by the run."""

    def __init__(self) -> None:
        self._zones: Interner[str] = Interner()
        self._table = KeyedTable({"first": Column("min"), "last": Column("max")})

    def __repr__(self) -> str:
        return f"<Frozen {len(self._table)} stretches in {len(self._zones)} zones>"

    def add(self, slots: KeyedTable, before: int, known: Places, prices: PriceBook) -> None:
        """Note what has energy in slots before *before*, which are about to be dropped."""
        key = slots.key[slots.key < before << WINDOW_SHIFT]
        key = key[slots.take("energy_uj", slice(0, len(key))).any(axis=1)]
        code, back = np.unique(zone_of(key), return_inverse=True)
        zone = np.array([self._zones.code(known.zones[each]) for each in code.tolist()], np.int64)[back]
        price = prices.lookup(known.zones.names, zone_of(key), window_of(key))
        slot = window_of(key)
        where = run_of(key) << _RUN_SHIFT | zone << _ZONE_SHIFT | price + 1
        self._table.merge(where, {"first": slot, "last": slot})

    def beaten(self, price: Price, prices: PriceBook) -> list[Stretch]:
        """The stretches in which *price* would have counted, had it come in time."""
        if len(self._table) == 0:
            return []
        zones = [code for code, zone in enumerate(self._zones.names) if price.zone in fallbacks(zone)]
        first, end = price.valid_from // WINDOW_5M_US, price.valid_to // WINDOW_5M_US
        key = self._table.key
        zone = key >> _ZONE_SHIFT & ((1 << RUN_SHIFT) - 1)
        begins, ends = self._table["first"], self._table["last"] + 1
        near = np.isin(zone, zones) & (ends > first) & (begins < end)
        found = []
        for at in np.flatnonzero(near).tolist():
            name, index = self._zones[int(zone[at])], int(key[at] & ((1 << _ZONE_SHIFT) - 1)) - 1
            old = None if index == UNPRICED else prices[index]
            if beats(price, old, name):
                low, high = max(first, int(begins[at])), min(end, int(ends[at]))
                found.append(Stretch(int(key[at]) >> _RUN_SHIFT, name, low, high, old))
        return found

    def forget_runs(self, runs: Collection[int]) -> None:
        """Drop what is noted of runs that are forgotten."""
        if runs:
            self._table.drop(np.isin(self._table.key >> _RUN_SHIFT, np.array(sorted(runs), np.int64)))

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return (self._zones.names.copy(), self._table.dump())

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave, into a new one."""
        zones, table = state
        self._zones.load(zones)
        self._table.load(table)
