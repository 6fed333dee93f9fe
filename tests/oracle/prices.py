"""Semantics §3: which price record counts for a cell, and what a row's groups of energy come to."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tests.oracle.model import W5M, Parameters, Record, Row, Table, is_long, utc_date

KINDS = ("actual", "estimated", "forecast", "static")
LEVELS = ("zone", "country", "world")
SIGNALS = ("average", "marginal")
UJ_PER_KWH = 3.6e12

ENERGIES = ("cpu_uj", "gpu_uj", "memory_uj", "other_uj")
PARTS = 9
"""A cell: measured cpu, gpu, memory, other; the same estimated; site water in µL."""

Group = tuple[int | None, float]
"""What energy is grouped by: number of the price record (None: no price) and PUE."""


def price_fault(record: Record) -> str:
    """The first reason to reject a price record, or nothing."""
    value = record["intensity_g_per_kwh"]
    checks = (
        ("empty_interval", record["valid_from"] >= record["valid_to"]),
        ("unaligned_period", record["valid_from"] % W5M != 0 or record["valid_to"] % W5M != 0),
        ("implausible_intensity", not 0 <= value <= 10_000),
        ("unknown_word", record["kind"] not in KINDS or record["signal"] not in SIGNALS),
        ("empty_id", record["zone"] == ""),
        ("long_id", any(is_long(record[name]) for name in ("zone", "provider"))),
    )
    return next((reason for reason, applies in checks if applies), "")


def accepted(records: Iterable[Record]) -> list[Record]:
    """The price records that are not rejected, equal ones once."""
    unique = {tuple(sorted(record.items(), key=lambda item: item[0])): record for record in records}
    return [record for record in unique.values() if not price_fault(record)]


def _greatest_first(value: Any) -> tuple[bool, Any]:
    """Null before every value, so that a maximum prefers what is known."""
    return (value is not None, 0 if value is None else value)


def _strength(record: Record) -> tuple[Any, ...]:
    """The part of the order that wants the greatest; behind the documented five, what makes it total."""
    documented = tuple(
        record[name] for name in ("revision", "published_at", "provider", "dataset", "intensity_g_per_kwh")
    )
    rest = ("valid_from", "price_per_kwh", "water_l_per_kwh")
    words = ("currency", "factor")
    return (
        *documented,
        *(_greatest_first(record[name]) for name in rest),
        *((record[name] is not None, record[name] or "") for name in words),
    )


class PriceBook:
    """The accepted price records and the answer to: which one counts for this zone at this time."""

    def __init__(self, records: Iterable[Record], parameters: Parameters) -> None:
        self.records = accepted(records)
        self._parameters = parameters
        self._by_zone: dict[str, list[int]] = {}
        self._answers: dict[tuple[str, int], int | None] = {}
        for number, record in enumerate(self.records):
            if record["signal"] == "average":
                self._by_zone.setdefault(record["zone"], []).append(number)

    def country(self, zone: str) -> str | None:
        """The alpha-3 country of a zone, if it says one."""
        if len(zone) == 3 and zone.isascii() and zone.isalpha() and zone.isupper():
            return zone
        if len(zone) == 2 or zone[2:3] == "-":
            return self._parameters.country_of.get(zone[:2])
        return None

    def level(self, number: int) -> str:
        """How coarse the zone of a price record is."""
        zone = self.records[number]["zone"]
        if zone == "WORLD":
            return "world"
        return "country" if zone in self._parameters.iso3 else "zone"

    def at(self, zone: str, instant_us: int) -> int | None:
        """Number of the price record that counts for a zone at an instant; None: no price."""
        # Periods begin and end on whole 5 minutes, so all instants of one such step have one answer.
        step = (zone, instant_us // W5M)
        if step not in self._answers:
            self._answers[step] = self._choose(zone, step[1] * W5M)
        return self._answers[step]

    def _choose(self, zone: str, instant_us: int) -> int | None:
        fallbacks = dict.fromkeys((zone, self.country(zone), "WORLD"))
        candidates = [
            (rank, number)
            for rank, place in enumerate(fallbacks)
            if place is not None
            for number in self._by_zone.get(place, ())
            if self.records[number]["valid_from"] <= instant_us < self.records[number]["valid_to"]
        ]
        if not candidates:
            return None

        def weakness(candidate: tuple[int, int]) -> tuple[bool, int, int, int]:
            rank, number = candidate
            record = self.records[number]
            period = record["valid_to"] - record["valid_from"]
            return (record["kind"] == "static", rank, KINDS.index(record["kind"]), period)

        best = min(map(weakness, candidates))
        equals = [number for candidate in candidates if weakness(candidate) == best for number in candidate[1:]]
        return max(equals, key=lambda number: _strength(self.records[number]))


class Sum:
    """Cells added up: the nine integers, and energy by group."""

    __slots__ = ("groups", "parts")

    def __init__(self) -> None:
        self.parts = [0] * PARTS
        self.groups: dict[Group, int] = {}

    def add(self, parts: list[int], group: Group) -> None:
        """Add a cell, or a share of one, that has a price and a PUE. A cell of 0 µJ is a use of its price too."""
        mine = self.parts
        for index, value in enumerate(parts):
            mine[index] += value
        self.groups[group] = self.groups.get(group, 0) + sum(parts[:8])

    @property
    def energy_uj(self) -> int:
        """Energy of all kinds, measured and estimated."""
        return sum(self.parts[:8])

    @property
    def water_ul(self) -> int:
        """Measured site water."""
        return self.parts[8]

    def energies(self) -> Row:
        """The energy columns of a row."""
        measured, estimated = self.parts[:4], self.parts[4:8]
        row: Row = {name: one + other for name, one, other in zip(ENERGIES, measured, estimated, strict=True)}
        unpriced = sum(energy for (price, _), energy in self.groups.items() if price is None)
        return row | {"energy_uj": self.energy_uj, "estimated_uj": sum(estimated), "unpriced_uj": unpriced}


def _is_finite(factor: float | None) -> bool:
    return factor is not None and math.isfinite(factor)


def _sum(terms: Iterable[float]) -> float:
    """The correctly rounded sum; what leaves the doubles on the way is added up as doubles are."""
    known = list(terms)
    try:
        return math.fsum(known)
    except (OverflowError, ValueError):
        return sum(known)


def own_site_water(energy_uj: int, water_ul: int, wue: float | None) -> list[float]:
    """Site water of one run's row in litres: measured, or by the run's WUE, or nothing."""
    if water_ul > 0:
        return [water_ul / 1e6]
    return [] if wue is None else [energy_uj / UJ_PER_KWH * wue]


def priced(groups: Mapping[Group, int], site: list[float], book: PriceBook) -> Row:
    """Emissions, water, cost and what they rest on, from energy by group; the order of operations is §3's."""
    used = [(book.records[price], pue, energy) for (price, pue), energy in groups.items() if price is not None]
    numbers = [price for price, _ in groups if price is not None]
    emissions, water, cost, weighted = [], [], [], []
    for record, pue, energy in used:
        kwh = energy / UJ_PER_KWH
        emissions.append(kwh * pue * record["intensity_g_per_kwh"])
        weighted.append(float(energy) * record["intensity_g_per_kwh"])
        if _is_finite(record["water_l_per_kwh"]):
            water.append(kwh * pue * record["water_l_per_kwh"])
        if _is_finite(record["price_per_kwh"]) and record["currency"] is not None:
            cost.append((record["currency"], kwh * pue * record["price_per_kwh"]))
    currencies = sorted({currency for currency, _ in cost})
    total = sum(energy for _, _, energy in used)
    return {
        "emissions_g": _sum(emissions) if used else None,
        "water_l": _sum(water + site) if water else None,
        "cost": _sum(term for _, term in cost) if len(currencies) == 1 else None,
        "currency": None if not currencies else currencies[0] if len(currencies) == 1 else "mixed",
        "intensity_g_per_kwh": _sum(weighted) / float(total) if total else None,
        "intensity_kind": KINDS[max(KINDS.index(record["kind"]) for record, _, _ in used)] if used else None,
        "zone_level": LEVELS[max(LEVELS.index(book.level(number)) for number in numbers)] if used else None,
    }


def intensity_rows(book: PriceBook) -> Table:
    """Every accepted price record; of several with one key the greatest (published_at, dataset, value)."""
    rows: Table = {}
    strength: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for record in book.records:
        row = record | {"date": utc_date(record["valid_from"])}
        names = ("zone", "date", "valid_from", "valid_to", "signal", "provider", "kind", "revision")
        key = tuple(row[name] for name in names)
        mine = tuple(record[name] for name in ("published_at", "dataset", "intensity_g_per_kwh"))
        if key not in rows or mine > strength[key]:
            rows[key], strength[key] = row, mine
    return rows
