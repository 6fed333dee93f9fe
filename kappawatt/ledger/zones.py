"""The fleet per electricity zone and hour: what each shard contributes, and the rows of all (docs/semantics.md §2)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import WINDOW_SHIFT, run_of, window_of, zone_of
from kappawatt.ledger.prices import UNPRICED, Group, Price, PriceBook, price_row
from kappawatt.ledger.rows import Row, dates
from kappawatt.ledger.runs import Run, energy_columns
from kappawatt.stream.table import KeyedTable
from kappawatt.units import UJ_PER_KWH, WINDOW_1H_US

Ints = NDArray[np.int64]
_SLOTS = 12


class Over(IntEnum):
    """Whether an hour can still change. States of before this had a boolean here: what was over by whichever way."""

    NO = 0
    AT_THE_END = 1
    """The log has ended: a longer one may bring more of any hour."""
    PASSED = 2
    """The watermark has passed it: only what is late, or another price, changes it."""


class ZoneHour(NamedTuple):
    """One shard's whole contribution to one zone and hour; it replaces what the shard said before.

    groups: (energy, price record or None, PUE); wue: (L per kWh, energy) of runs without measured water.
    """

    zone: str
    hour: int
    energy_uj: tuple[int, ...]
    groups: tuple[tuple[int, tuple[Any, ...] | None, float], ...]
    water_ul: int
    wue: tuple[tuple[float, int], ...]
    runs: int
    over: int


def contributions(
    hours: Iterable[tuple[int, int]],
    slots: KeyedTable,
    runs: Sequence[Run],
    zones: Sequence[str],
    prices: PriceBook,
    is_over: Callable[[int], Over],
) -> list[ZoneHour]:
    """A shard's contributions to (zone code, hour)s from its 5-min cells."""
    by_hour: dict[int, set[int]] = defaultdict(set)
    for zone, hour in hours:
        by_hour[hour].add(zone)
    found = []
    for hour, wanted in sorted(by_hour.items()):
        low = np.array([hour * _SLOTS << WINDOW_SHIFT], np.int64)
        at, _ = slots.between(low, low + (_SLOTS << WINDOW_SHIFT))
        at = at[zone_of(slots.key[at]).argsort(kind="stable")]
        key, energy = slots.key[at], slots.take("energy_uj", at)
        codes = zone_of(key)
        price = prices.lookup(zones, codes, window_of(key))
        columns = (run_of(key), price, energy.sum(axis=1), slots.take("water_ul", at))
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        edges = [*np.flatnonzero(np.diff(codes, prepend=-1)).tolist(), len(rows)]
        for code, (a, b) in zip(codes[edges[:-1]].tolist(), pairwise(edges), strict=True):
            if code in wanted:
                whole = tuple(energy[a:b].sum(axis=0).tolist())
                found.append(_contribution((zones[code], hour, whole), rows[a:b], runs, prices, is_over(hour)))
    return found


def _contribution(
    about: tuple[str, int, tuple[int, ...]],
    cells: Sequence[tuple[int, int, int, int]],
    runs: Sequence[Run],
    prices: PriceBook,
    over: Over,
) -> ZoneHour:
    """Of one zone and hour from its 5-min cells: run, price, energy, water."""
    groups: dict[tuple[int, float], int] = defaultdict(int)
    by_run: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    pue = {code: runs[code].pue for code in {cell[0] for cell in cells}}
    for code, index, joules, litres in cells:
        groups[index, pue[code]] += joules
        by_run[code][0] += joules
        by_run[code][1] += litres
    wue: dict[float, int] = defaultdict(int)
    for code, (joules, litres) in by_run.items():
        use = runs[code].wue_l_per_kwh
        if litres == 0 and use is not None:
            wue[use] += joules
    return ZoneHour(
        *about,
        tuple((e, None if i == UNPRICED else tuple(prices[i]), pue) for (i, pue), e in groups.items()),
        sum(litres for _, litres in by_run.values()),
        tuple(wue.items()),
        len(by_run),
        int(over),
    )


class ZoneTotals:
    """The zone rows of some zones: each shard's latest contribution, never a running sum."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], dict[int, ZoneHour]] = defaultdict(dict)
        self._dirty: set[tuple[str, int]] = set()
        self.newest_over = 0
        """The newest hour that the watermark has passed in some shard: newer ones may be far ahead, or just the end."""

    def __repr__(self) -> str:
        return f"<ZoneTotals {len(self._parts)} zone hours>"

    def replace(self, shard: int, part: ZoneHour) -> None:
        """Take a shard's contribution in place of its earlier one."""
        self._keep(shard, part)
        self._dirty.add((part.zone, part.hour))

    def flush(self) -> list[Row]:
        """The rows of `zone_window_1h` that changed."""
        rows = [_row(zone, hour, list(self._parts[zone, hour].values())) for zone, hour in sorted(self._dirty)]
        self._dirty = set()
        return rows

    def forget_before(self, hour: int) -> None:
        """Drop hours that cannot change any more."""
        for key in [key for key in self._parts if key[1] < hour]:
            del self._parts[key]

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return tuple((shard, tuple(part)) for parts in self._parts.values() for shard, part in parts.items())

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave; nothing is dirty by it."""
        for shard, values in state:
            self._keep(shard, ZoneHour(*values))

    def _keep(self, shard: int, part: ZoneHour) -> None:
        self._parts[part.zone, part.hour][shard] = part
        if part.over == Over.PASSED:
            self.newest_over = max(self.newest_over, part.hour)


def _row(zone: str, hour: int, parts: list[ZoneHour]) -> Row:
    start = hour * WINDOW_1H_US
    eight = [sum(part.energy_uj[column] for part in parts) for column in range(8)]
    total, by_kind, estimated = energy_columns(eight)
    groups: dict[tuple[tuple[Any, ...] | None, float], int] = defaultdict(int)
    wue: dict[float, int] = defaultdict(int)
    for part in parts:
        for energy, price, pue in part.groups:
            groups[price, pue] += energy
        for use, energy in part.wue:
            wue[use] += energy
    merged = [Group(e, None if price is None else Price(*price), pue) for (price, pue), e in groups.items()]
    water_ul = sum(part.water_ul for part in parts)
    site = [water_ul / 1e6] if water_ul > 0 else []
    site += [energy / UJ_PER_KWH * use for use, energy in wue.items()]
    priced = price_row(merged, site)
    runs = sum(part.runs for part in parts)
    final = all(part.over for part in parts)
    return (zone, dates(np.array([start]))[0], start, total, *by_kind, estimated, *priced, runs, final)
