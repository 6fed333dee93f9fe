"""What a shard forgets beyond the horizon, and what of it totals keep (design: one horizon bounds all state)."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.device_rows import DeviceRows
from kappawatt.ledger.keys import WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import PriceBook
from kappawatt.ledger.runs import Run
from kappawatt.ledger.usage import Usage
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


def forget_runs(known: Places, usage: Usage, devices: DeviceRows, before_us: int) -> None:
    """Give back the codes of the runs that nothing was heard of since an instant: all their windows are forgotten.

    One that was told of since the last time is kept until the next: the log of a host that was away is being read.
    """
    gone = set(known.lives.silent_since(before_us))
    devices.forget_runs(gone)
    usage.forget(known.forget(gone))


def forget_names(known: Places, slots: KeyedTable, zones: Collection[int], prices: PriceBook) -> None:
    """Give back the codes of zones that have no cell and are not among *zones*, and the prices that nobody needs."""
    used = {*np.unique(zone_of(slots.key)).tolist(), *zones}
    gone = [code for code in known.zones.codes() if code not in used]
    known.forget_zones(gone)
    prices.forget_zones(gone)
    prices.forget_records(known.state.price_indices())
