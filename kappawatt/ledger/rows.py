"""Window rows from cells: energies added up, priced, and put in the order of the tables, column by column."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import RUN_SHIFT, WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.prices import UNPRICED, Group, PriceBook, PriceColumns, price_row, site_water
from kappawatt.ledger.windows import Windows
from kappawatt.stream.table import Column, KeyedTable, reduce_by_key
from kappawatt.units import UJ_PER_KWH

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = tuple[Any, ...]

_DAY_US = 86_400_000_000
_GROUPS = {"energy_uj": Column("sum")}


def dates(instant_us: Ints) -> list[str]:
    """UTC days as `YYYY-MM-DD`.

    >>> dates(np.array([0, 86_400_000_000]))
    ['1970-01-01', '1970-01-02']
    """
    return [_date(day) for day in (instant_us // _DAY_US).tolist()]


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))


class RowMaker:
    """Makes the rows of one width. *per_row* cells' windows make one row; prices come from a PriceBook.

    The usual row has one price and is made by whole columns; the others one by one, with the same operations.
    """

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
        energy, water = self._cells["energy_uj"][at], self._cells["water_ul"][at]
        late = self._windows.late
        if len(late):
            where, known = late.find(cell)
            energy[known] -= late["energy_uj"][where[known]]
            water[known] -= late["water_ul"][where[known]]
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
        priced = self._priced(
            len(key),
            owner,
            energy.sum(axis=1),
            index,
            prices,
            eight.sum(axis=1),
            site,
            pue[run_of(key)],
            wue[run_of(key)],
        )
        start = window_of(key) * self._windows.width_us
        by_kind = eight[:, 0::2] + eight[:, 1::2]
        at, _ = self._windows.rows.find(key)
        stat = {name: self._windows.rows[name][at] for name in ("samples", "covered_us", "span_us", "peak_uj", "final")}
        coverage = np.minimum(1.0, stat["covered_us"] / stat["span_us"])
        columns = (
            [runs[code] for code in run_of(key).tolist()],
            dates(start),
            start.tolist(),
            by_kind.sum(axis=1).tolist(),
            *(by_kind[:, kind].tolist() for kind in range(4)),
            eight[:, 1::2].sum(axis=1).tolist(),
            *zip(*priced, strict=True),
            stat["samples"].tolist(),
            coverage.tolist(),
            (stat["peak_uj"] / 5_000_000).tolist(),
            [ended or final == 1 for final in stat["final"].tolist()],
        )
        return list(zip(*columns, strict=True))

    def _priced(
        self,
        rows: int,
        owner: Ints,
        energy: Ints,
        index: Ints,
        prices: PriceBook,
        total: Ints,
        site: Ints,
        pue: Floats,
        wue: Floats,
    ) -> list[tuple[Any, ...]]:
        """The derived columns of each row, unpriced_uj first."""
        pair, groups = reduce_by_key(owner << 32 | index + 1, {"energy_uj": energy}, _GROUPS)
        row, price = pair >> 32, (pair & 0xFFFFFFFF) - 1
        amount = groups["energy_uj"]
        result: list[Any] = [None] * rows
        simple = (np.bincount(row, minlength=rows)[row] == 1) & (price != UNPRICED)
        where = row[simple]
        values = _one_price(prices.columns(), price[simple], amount[simple], pue[where], wue[where], site[where])
        for target, value in zip(where.tolist(), values, strict=True):
            result[target] = value
        rest: dict[int, list[Group]] = {}
        others = zip(row[~simple].tolist(), price[~simple].tolist(), amount[~simple].tolist(), strict=True)
        for target, code, joules in others:
            group = Group(joules, None if code == UNPRICED else prices[code], float(pue[target]))
            rest.setdefault(target, []).append(group)
        for target, several in rest.items():
            water_use = None if math.isnan(wue[target]) else float(wue[target])
            result[target] = price_row(several, site_water(int(site[target]), int(total[target]), water_use))
        return result


def _one_price(
    book: PriceColumns, price: Ints, energy: Ints, pue: Floats, wue: Floats, site: Ints
) -> Iterable[tuple[Any, ...]]:
    """`price_row` for rows under one record each: the same operations in the same order, by columns."""
    amount = energy.astype(np.float64)
    kwh = amount / UJ_PER_KWH * pue
    intensity = book.intensity_g_per_kwh[price]
    mean = amount * intensity / np.where(energy == 0, np.nan, amount)
    on_site = np.where(site > 0, site / 1e6, np.where(np.isnan(wue), 0.0, amount / UJ_PER_KWH * wue))
    return zip(
        [0] * len(energy),
        (kwh * intensity).tolist(),
        _known(kwh * book.water_l_per_kwh[price] + on_site),
        _known(kwh * book.price_per_kwh[price]),
        book.currency[price].tolist(),
        _known(mean),
        book.kind[price].tolist(),
        book.zone_level[price].tolist(),
        strict=True,
    )


def _known(values: Floats) -> list[float | None]:
    """Values as a list, None for NaN."""
    found: list[float | None] = values.tolist()
    for missing in np.flatnonzero(np.isnan(values)).tolist():
        found[missing] = None
    return found
