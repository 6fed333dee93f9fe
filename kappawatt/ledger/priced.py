"""`price_row` for many rows at once: the same operations in the same order, by columns (docs/semantics.md §3)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.prices import KINDS, LEVELS, UNPRICED, PriceColumns, rounded_sum
from kappawatt.units import UJ_PER_KWH

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NONE = np.iinfo(np.int64).max


@np.errstate(over="ignore", invalid="ignore")  # absurd factors lead beyond the doubles, as in `rounded_sum`
def price_rows(
    book: PriceColumns, rows: int, row: Ints, price: Ints, energy_uj: Ints, pue: Floats, site_l: Floats
) -> list[list[Any]]:
    """The columns of `Priced` for each of *rows*.

    Args:
        book: Price records by index.
        rows: How many rows.
        row: Of each group the row, ascending; each row has at least one group.
        price: Of each group the record's index, UNPRICED if none; not twice in a row.
        energy_uj: Of each group.
        pue: Of each row.
        site_l: Water used on site by each row, L; NaN if nothing is known of it.
    """
    priced = price != UNPRICED
    unpriced = np.zeros(rows, np.int64)
    np.add.at(unpriced, row[~priced], energy_uj[~priced])
    row, price, energy_uj = row[priced], price[priced], energy_uj[priced]
    amount = energy_uj.astype(np.float64)
    kwh = amount / UJ_PER_KWH * pue[row]
    intensity = book.intensity_g_per_kwh[price]
    whole = np.zeros(rows, np.int64)
    np.add.at(whole, row, energy_uj)
    weighted = _sums(rows, row, amount * intensity)
    means = [w / e if w is not None and e else None for w, e in zip(weighted, whole.astype(np.float64), strict=True)]
    currency, mixed = _only(rows, row, book.currency[price])
    cost = _sums(rows, row, kwh * book.price_per_kwh[price])
    return [
        unpriced.tolist(),
        _sums(rows, row, kwh * intensity),
        _sums(rows, row, kwh * book.water_l_per_kwh[price], site_l),
        [None if several else value for value, several in zip(cost, mixed.tolist(), strict=True)],
        _named((*book.currencies, "mixed"), np.where(mixed, len(book.currencies), currency)),
        means,
        _named(KINDS, _greatest(rows, row, book.kind[price])),
        _named(LEVELS, _greatest(rows, row, book.zone_level[price])),
    ]


@np.errstate(over="ignore", invalid="ignore")
def site_water_l(water_ul: Ints, energy_uj: Ints, wue_l_per_kwh: Floats) -> Floats:
    """`site_water` for many rows: measured water, else by the WUE (NaN: unknown) on the IT energy, else NaN."""
    found: Floats = np.where(water_ul > 0, water_ul / 1e6, energy_uj / UJ_PER_KWH * wue_l_per_kwh)
    return found


def _sums(rows: int, row: Ints, terms: Floats, last: Floats | None = None) -> list[float | None]:
    """Correctly rounded sums by row, of the terms that are known; None where none is. *last* is one more term."""
    known = ~np.isnan(terms)
    if not known.any():
        return [None] * rows
    row, terms = row[known], terms[known]
    if last is not None:
        also = np.zeros(rows, bool)
        also[row] = True
        also &= ~np.isnan(last)
        extra = np.flatnonzero(also)
        order = np.argsort(np.concatenate((row, extra)), kind="stable")
        row, terms = np.concatenate((row, extra))[order], np.concatenate((terms, last[extra]))[order]
    count = np.bincount(row, minlength=rows)
    values: list[float] = terms.tolist()
    if np.all(count == 1):
        return [*values]
    edges = [0, *np.cumsum(count).tolist()]
    try:
        return [math.fsum(values[a:b]) if a < b else None for a, b in pairwise(edges)]
    except (OverflowError, ValueError):
        return [rounded_sum(values[a:b]) if a < b else None for a, b in pairwise(edges)]


def _greatest(rows: int, row: Ints, code: Ints) -> Ints:
    greatest = np.full(rows, -1, np.int64)
    np.maximum.at(greatest, row, code)
    return greatest


def _only(rows: int, row: Ints, code: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The one code ≥ 0 of each row (−1: none), and whether there are several."""
    least, greatest = np.full(rows, _NONE), np.full(rows, -1, np.int64)
    known = code >= 0
    np.minimum.at(least, row[known], code[known])
    np.maximum.at(greatest, row[known], code[known])
    return greatest, least < greatest


def _named(names: Sequence[str], code: Ints) -> list[str | None]:
    """The name of each code; None for −1."""
    found: list[str | None] = np.array([*names, None], object)[code].tolist()
    return found
