"""What a shard forgets beyond the horizon, and what of it totals keep (design: one horizon bounds all state)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.prices import PriceBook
from kappawatt.ledger.runs import Run
from kappawatt.stream.table import KeyedTable

Ints = NDArray[np.int64]


def forget_slots(slots: KeyedTable, before: int, runs: Sequence[Run], zones: Sequence[str], prices: PriceBook) -> None:
    """Drop 5-min cells before a slot; their energy stays in their runs' totals under the price that it had."""
    gone = slots.key < before << WINDOW_SHIFT
    key = slots.key[gone]
    price = prices.lookup(zones, zone_of(key), window_of(key))
    energy = slots["energy_uj"][gone].sum(axis=1)
    for code, index, joules in zip(run_of(key).tolist(), price.tolist(), energy.tolist(), strict=True):
        frozen = runs[code].frozen
        frozen[index] = frozen.get(index, 0) + joules
    slots.drop(gone)
    prices.forget_before(before)


def runs_before(cells: KeyedTable, before: int) -> list[int]:
    """Codes of the runs that have a 5-s cell before a window."""
    old = cells.key[cells.key < before << WINDOW_SHIFT]
    return sorted(set(run_of(old).tolist()))
