"""Electricity zones: which country a zone lies in, and what stands in for it when it has no intensity of its own.

Zones are written as Electricity Maps does (`DE`, `US-CAL-CISO`), as ISO 3166-2 (`US-CA`) or as a country's alpha-3 code
(`DEU`). Rules: docs/semantics.md §3.
"""

import csv
import re
from functools import cache
from pathlib import Path

WORLD = "WORLD"
"""The zone that stands in for every other."""

DATA = Path(__file__).parent / "data"

LEVELS = ("zone", "country", "world")
"""How well a price fits a place, finest first."""


def country_of(zone: str) -> str | None:
    """The alpha-3 code of the zone's country; None if the zone does not say.

    >>> country_of("DE-LU"), country_of("US-CAL-CISO"), country_of("FRA"), country_of("WORLD"), country_of("QZ-1")
    ('DEU', 'USA', 'FRA', None, None)
    """
    if re.fullmatch(r"[A-Z]{3}", zone):
        return zone
    two = zone.partition("-")[0]
    return alpha_3().get(two) if len(two) == 2 else None


def fallbacks(zone: str) -> tuple[str, ...]:
    """The zones whose intensity counts for *zone*, finest first.

    >>> fallbacks("DE-LU"), fallbacks("FRA"), fallbacks("WORLD")
    (('DE-LU', 'DEU', 'WORLD'), ('FRA', 'WORLD'), ('WORLD',))
    """
    country = country_of(zone)
    return tuple(dict.fromkeys((zone, country, WORLD) if country else (zone, WORLD)))


def zone_level(zone: str) -> str:
    """`world`, `country` or `zone`: how wide the area is that an intensity record is for.

    >>> zone_level("WORLD"), zone_level("DEU"), zone_level("DE"), zone_level("XYZ")
    ('world', 'country', 'zone', 'zone')
    """
    if zone == WORLD:
        return "world"
    return "country" if zone in countries() else "zone"


@cache
def alpha_3() -> dict[str, str]:
    """ISO 3166-1 alpha-2 code → alpha-3 code."""
    with (DATA / "iso_3166.csv").open(encoding="utf-8", newline="") as rows:
        return {row["alpha_2"]: row["alpha_3"] for row in csv.DictReader(rows)}


@cache
def countries() -> frozenset[str]:
    """All alpha-3 codes."""
    return frozenset(alpha_3().values())
