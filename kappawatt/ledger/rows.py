"""Window rows from cells: energies added up, priced, and put in the order of the tables, column by column."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import RUN_SHIFT, WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.priced import price_rows, site_water_l
from kappawatt.ledger.prices import PriceBook
from kappawatt.ledger.windows import Windows
from kappawatt.stream.table import Column, KeyedTable, reduce_by_key

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = tuple[Any, ...]

_DAY_US = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_GROUPS = {"energy_uj": Column("sum")}


def dates(instant_us: Ints) -> list[str]:
    """UTC days as `YYYY-MM-DD`; the first or last that can be written so for instants before year 1 or after 9999.

    >>> dates(np.array([0, 86_400_000_000]))
    ['1970-01-01', '1970-01-02']
    """
    day = instant_us // _DAY_US
    if len(day) and day.min() == day.max():
        return [_date(int(day[0]))] * len(day)
    return [_date(each) for each in day.tolist()]


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return str(np.datetime64(min(max(day, _FIRST_DAY), _LAST_DAY), "D"))


class RowMaker:
    """Makes the rows of one width. *per_row* cells' windows make one row; prices come from a PriceBook."""

    def __init__(self, cells: KeyedTable, windows: Windows, per_row: int, slots_per_cell: int) -> None:
        self._cells = cells
        self._windows = windows
        self._per_row = per_row
        self._cells_per_slot = slots_per_cell

    def energies(self, key: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """The cells of rows: (owner, energies [cells, 8], water, slot, zone), late parts taken off."""
        span = window_of(key)[:, None] * self._per_row + np.arange(self._per_row)
        low = (span << WINDOW_SHIFT | (run_of(key) << RUN_SHIFT)[:, None]).reshape(-1)
        at, owner = self._cells.between(low, low + (1 << RUN_SHIFT))
        cell = self._cells.key[at]
        energy, water = self._cells.take("energy_uj", at), self._cells.take("water_ul", at)
        late = self._windows.late
        if len(late):
            where, known = late.find(cell)
            energy[known] -= late.take("energy_uj", where[known])
            water[known] -= late.take("water_ul", where[known])
        return owner // self._per_row, energy, water, window_of(cell) // self._cells_per_slot, zone_of(cell)

    def make(
        self,
        key: Ints,
        *,
        runs: Sequence[str],
        zones: Sequence[str],
        prices: PriceBook,
        pue: Floats,
        wue: Floats,
        ended: bool,
    ) -> list[Row]:
        """Rows for *key*s. *pue* and *wue* (NaN: unknown) are by run code."""
        if len(key) == 0:
            return []
        owner, energy, water, slot, zone = self.energies(key)
        index = prices.lookup(zones, zone, slot)
        eight, site = np.zeros((len(key), 8), np.int64), np.zeros(len(key), np.int64)
        np.add.at(eight, owner, energy)
        np.add.at(site, owner, water)
        code = run_of(key)
        total = eight.sum(axis=1)
        pair, groups = reduce_by_key(owner << 32 | index + 1, {"energy_uj": energy.sum(axis=1)}, _GROUPS)
        priced = price_rows(
            prices.columns(),
            len(key),
            pair >> 32,
            (pair & 0xFFFFFFFF) - 1,
            groups["energy_uj"],
            pue[code],
            site_water_l(site, total, wue[code]),
        )
        start = window_of(key) * self._windows.width_us
        by_kind = eight[:, 0::2] + eight[:, 1::2]
        at, _ = self._windows.rows.find(key)
        stat = {
            name: self._windows.rows.take(name, at) for name in ("samples", "covered_us", "span_us", "peak_uj", "final")
        }
        coverage = np.minimum(1.0, stat["covered_us"] / stat["span_us"])
        columns = (
            [runs[index] for index in code.tolist()],
            dates(start),
            start.tolist(),
            by_kind.sum(axis=1).tolist(),
            *(by_kind[:, kind].tolist() for kind in range(4)),
            eight[:, 1::2].sum(axis=1).tolist(),
            *priced,
            stat["samples"].tolist(),
            coverage.tolist(),
            (stat["peak_uj"] / 5_000_000).tolist(),
            ((stat["final"] == 1) | ended).tolist(),
        )
        return list(zip(*columns, strict=True))
