"""The bundled yearly grid intensity of every country: the value that counts until a better one is known.

Values are Ember's (CC BY 4.0, see data/ATTRIBUTION.md): lifecycle, yearly, location-based.
"""

import csv
from datetime import UTC, datetime
from pathlib import Path

from kappawatt import grid
from kappawatt.units import US_PER_S
from kappawatt.wire.records import Intensity

TABLE = grid.DATA / "intensity_yearly.csv"
PROVIDER = "ember"


def _us(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * US_PER_S


VALID_FROM, VALID_TO = _us(2000), _us(2100)
PUBLISHED_AT = _us(2025, 8, 3)
"""When the bundled edition was read; fixed, so that publishing again writes the same records."""


def records(zone: str | None, *, table: Path = TABLE) -> list[Intensity]:
    """The records that *zone* and its fallbacks have, the one that counts first; all of the table, by zone, for None.

    >>> [record.zone for record in records("DE-LU")]
    ['DEU', 'WORLD']
    >>> len(records(None)) > 200
    True
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = {row["zone"]: row for row in csv.DictReader(file)}
    wanted = sorted(rows) if zone is None else [each for each in grid.fallbacks(zone) if each in rows]
    return [_record(rows[each]) for each in wanted]


def _record(row: dict[str, str]) -> Intensity:
    year = int(row["year"])
    return Intensity(
        zone=row["zone"],
        valid_from=VALID_FROM,
        valid_to=VALID_TO,
        intensity_g_per_kwh=float(row["intensity_g_per_kwh"]),
        kind="static",
        signal="average",
        provider=PROVIDER,
        dataset=f"ember-yearly-{year}",
        revision=year,
        published_at=PUBLISHED_AT,
        factor="lifecycle",
        water_l_per_kwh=float(row["water_l_per_kwh"]) if row["water_l_per_kwh"] else None,
    )
