"""Which intensity record counts for a cell, and what a row costs (docs/semantics.md §3)."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.grid import fallbacks, zone_level
from kappawatt.stream.asof import AsOfTable
from kappawatt.units import UJ_PER_KWH, WINDOW_5M_US

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KINDS = ("actual", "estimated", "forecast", "static")
LEVELS = ("zone", "country", "world")
UNPRICED = -1

_NONE = np.iinfo(np.int64).max
_WIDE = 1 << 16  # distance of codes of slots and zones up to which they are looked up by place: 16 slots


class Price(NamedTuple):
    """What an intensity record says, as far as the join needs it; times in µs UTC."""

    zone: str
    valid_from: int
    valid_to: int
    kind: str
    revision: int
    published_at: int
    provider: str
    dataset: str
    intensity_g_per_kwh: float
    water_l_per_kwh: float | None = None
    price_per_kwh: float | None = None
    currency: str | None = None


GONE = Price("", 0, 0, KINDS[-1], 0, 0, "", "", 0.0)
"""Stands where a record was that nothing rests on any more; an accepted record has a zone."""


class Change(NamedTuple):
    """The price of a zone's cells in one 5-min slot went from one record (by index) to another."""

    zone: int
    slot: int
    before: int
    after: int


def _rank(price: Price, level: int) -> tuple[object, ...]:
    period = price.valid_to - price.valid_from
    newest = (price.revision, price.published_at, price.provider, price.dataset, price.intensity_g_per_kwh)
    rest = tuple(str(value) for value in price[-3:])  # records that differ only here are told apart all the same
    return (price.kind != "static", -level, -KINDS.index(price.kind), -period, *newest, rest)


@dataclass(frozen=True, slots=True)
class PriceColumns:
    """The records of a book by index, as columns: NaN or −1 where a record has no such factor, codes for words."""

    intensity_g_per_kwh: Floats
    water_l_per_kwh: Floats
    price_per_kwh: Floats
    currency: Ints
    currencies: tuple[str, ...]
    kind: Ints
    zone_level: Ints


def price_columns(records: Sequence[Price]) -> PriceColumns:
    """The columns of some records, in their order."""
    costs = [r.price_per_kwh if r.currency is not None else None for r in records]
    names = [r.currency if r.price_per_kwh is not None else None for r in records]
    currencies = tuple(sorted({name for name in names if name is not None}))
    return PriceColumns(
        np.array([r.intensity_g_per_kwh for r in records], np.float64),
        np.array([r.water_l_per_kwh for r in records], np.float64),
        np.array(costs, np.float64),
        np.array([-1 if name is None else currencies.index(name) for name in names], np.int64),
        currencies,
        np.array([KINDS.index(r.kind) for r in records], np.int64),
        np.array([LEVELS.index(zone_level(r.zone)) for r in records], np.int64),
    )


def beats(price: Price, other: Price | None, zone: str) -> bool:
    """Whether *price* counts before *other* (None: nothing) for cells of *zone*, where both hold."""
    groups = fallbacks(zone)
    if price.zone not in groups:
        return False
    return other is None or _rank(price, groups.index(price.zone)) > _rank(other, groups.index(other.zone))


class PriceBook:
    """All price records of a shard, and for each (zone code, 5-min slot) that was asked for the one that counts."""

    def __init__(self) -> None:
        self._table: AsOfTable[Price] = AsOfTable(_rank)
        self._seen: set[Price] = set()
        self._zones: list[tuple[str, ...]] = []
        self._asked: dict[int, int] = {}  # slot << 12 | zone → index
        self._by_group: defaultdict[str, set[int]] = defaultdict(set)
        self._columns: PriceColumns | None = None
        self._forgotten = -1 << 62

    def __repr__(self) -> str:
        return f"<PriceBook {len(self._seen)} records, {len(self._asked)} slots in use>"

    def __getitem__(self, index: int) -> Price:
        return self._table.records[index]

    def __contains__(self, price: Price) -> bool:
        return price in self._seen

    def add(self, price: Price) -> list[Change]:
        """Take a record and return what it changes among the slots in use; a repeat changes nothing."""
        first, end = price.valid_from // WINDOW_5M_US, price.valid_to // WINDOW_5M_US
        if price in self._seen or end <= self._forgotten:
            return []
        self._seen.add(price)
        self._columns = None
        self._table.add(price, price.zone, first, end)
        changes = []
        for asked in self._by_group[price.zone]:
            zone, slot = asked & 0xFFF, asked >> 12
            if not first <= slot < end:
                continue
            before, after = self._asked[asked], self._table.best(self._zones[zone], slot)
            if before != after:
                self._asked[asked] = after
                changes.append(Change(zone, slot, before, after))
        return changes

    def lookup(self, zones: Sequence[str], zone: Ints, slot: Ints) -> Ints:
        """For each (zone code, slot) the index of the record that counts, UNPRICED if none. *zones* names the codes."""
        asked = slot << 12 | zone
        first = int(asked.min(initial=_NONE))
        span = int(asked.max(initial=first)) - first + 1
        if span > _WIDE:
            each, back = np.unique(asked, return_inverse=True)
            found: Ints = self._found(zones, each)[back]
            return found
        present = np.zeros(span, bool)
        present[asked - first] = True
        index = np.zeros(span, np.int64)
        index[present] = self._found(zones, np.flatnonzero(present) + first)
        return np.take(index, asked - first)

    def columns(self) -> PriceColumns:
        """All records by column, for whole rows at once."""
        if self._columns is None:
            self._columns = price_columns(self._table.records)
        return self._columns

    def forget_before(self, slot: int) -> None:
        """Stop answering for slots before *slot*, for good."""
        gone = [asked for asked in self._asked if asked >> 12 < slot]
        for asked in gone:
            del self._asked[asked]
            for group in self._zones[asked & 0xFFF]:
                self._by_group[group].discard(asked)
        self._forgotten = slot
        self._table.forget_before(slot)

    def forget_records(self, used: Collection[int]) -> None:
        """Drop the records that ended before what is forgotten, but for the *used* ones, by index."""
        for index, price in enumerate(self._table.records):
            if price is not GONE and price.valid_to // WINDOW_5M_US <= self._forgotten and index not in used:
                self._table.replace(index, GONE)
                self._seen.discard(price)
                self._columns = None

    def forget_zones(self, zones: Iterable[int]) -> None:
        """Zone codes that mean another zone from now on."""
        for zone in zones:
            if zone < len(self._zones):
                self._zones[zone] = ()

    def dump(self) -> tuple[Any, ...]:
        """Plain state: the records in their order, so that indices hold."""
        return (self._forgotten, tuple(tuple(price) for price in self._table.records))

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave."""
        forgotten, records = state
        for values in records:
            price = Price(*values)
            if price == GONE:
                self._table.hold(GONE)
            else:
                self.add(price)
        for index, kept in enumerate(self._table.records):
            if kept is GONE:
                self._table.replace(index, GONE)
        self.forget_before(forgotten)

    def _found(self, zones: Sequence[str], asked: Ints) -> Ints:
        known = self._asked
        found = [known[code] if code in known else self._price(zones, code) for code in asked.tolist()]
        return np.array(found, np.int64)

    def _price(self, zones: Sequence[str], asked: int) -> int:
        zone, slot = asked & 0xFFF, asked >> 12
        while len(self._zones) <= zone:
            self._zones.append(())
        if not self._zones[zone]:
            self._zones[zone] = fallbacks(zones[zone])
        found = self._asked[asked] = self._table.best(self._zones[zone], slot)
        for group in self._zones[zone]:
            self._by_group[group].add(asked)
        return found


class Group(NamedTuple):
    """Energy of one row under one price record (None: unpriced) and one PUE."""

    energy_uj: int
    price: Price | None
    pue: float


class Priced(NamedTuple):
    """The derived columns of a row, in the order of the tables; each null where nothing is known."""

    unpriced_uj: int
    emissions_g: float | None
    water_l: float | None
    cost: float | None
    currency: str | None
    intensity_g_per_kwh: float | None
    intensity_kind: str | None
    zone_level: str | None


def price_row(groups: Sequence[Group], site_water_l: Sequence[float]) -> Priced:
    """Emissions, water and cost of one row from its groups, each by one correctly rounded sum.

    Args:
        groups: One per (price record, PUE); the order does not matter, `fsum` is exact.
        site_water_l: Terms of the water used on site, L.
    """
    unpriced = sum(group.energy_uj for group in groups if group.price is None)
    used = [
        (group.energy_uj / UJ_PER_KWH * group.pue, group, group.price) for group in groups if group.price is not None
    ]
    if not used:
        return Priced(unpriced, None, None, None, None, None, None, None)
    water = [kwh * price.water_l_per_kwh for kwh, _, price in used if price.water_l_per_kwh is not None]
    costs = [
        (kwh * price.price_per_kwh, price.currency)
        for kwh, _, price in used
        if price.price_per_kwh is not None and price.currency is not None
    ]
    currencies = {currency for _, currency in costs}
    energy = sum(group.energy_uj for _, group, _ in used)
    weighted = rounded_sum([float(group.energy_uj) * price.intensity_g_per_kwh for _, group, price in used])
    return Priced(
        unpriced,
        rounded_sum([kwh * price.intensity_g_per_kwh for kwh, _, price in used]),
        rounded_sum([*water, *site_water_l]) if water else None,
        rounded_sum([cost for cost, _ in costs]) if len(currencies) == 1 else None,
        next(iter(currencies)) if len(currencies) == 1 else ("mixed" if currencies else None),
        weighted / float(energy) if energy else None,
        max((price.kind for _, _, price in used), key=KINDS.index),
        max((zone_level(price.zone) for _, _, price in used), key=LEVELS.index),
    )


def rounded_sum(terms: Sequence[float]) -> float:
    """The correctly rounded sum; infinite, or NaN, where absurd factors lead beyond the doubles: `fsum` raises there.

    >>> rounded_sum([0.1] * 10), rounded_sum([1.7e308, 1.7e308])
    (1.0, inf)
    """
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return sum(terms)


def site_water(site_water_ul: int, energy_uj: int, wue_l_per_kwh: float | None) -> list[float]:
    """The site's term of a run's row: measured water, else the run's WUE on its IT energy, else nothing."""
    if site_water_ul > 0:
        return [site_water_ul / 1e6]
    return [] if wue_l_per_kwh is None else [energy_uj / UJ_PER_KWH * wue_l_per_kwh]
