"""Grid intensity for everywhere: the bundled yearly country table as records of topic `intensity`.

    kappawatt collect intensity --log file:log
    python -m collectors.intensity --zone DEU --zone FRA --print

Values are Ember's (CC BY 4.0, see kappawatt/data/ATTRIBUTION.md): lifecycle, yearly, location-based. They are `static`:
any actual, estimated or forecast value goes before them, so publishing them never hides a better one.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kappawatt import grid
from kappawatt.errors import SettingsError
from kappawatt.settings import Settings, load, masked
from kappawatt.units import US_PER_S
from kappawatt.wire.records import Intensity

from .sink import open_sink

TABLE = grid.DATA / "intensity_yearly.csv"
PROVIDER = "ember"


def _us(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * US_PER_S


VALID_FROM, VALID_TO = _us(2000), _us(2100)
PUBLISHED_AT = _us(2025, 8, 3)
"""When the bundled edition was read; fixed, so that publishing again writes the same records."""

PARTITION = "ember-yearly-2025.08.03"
"""Partition of a file log that holds the bundled edition."""


def records(zones: Iterable[str] | None = None, *, table: Path = TABLE) -> list[Intensity]:
    """The newest year of every country and of `WORLD`, or of *zones* and what they fall back to, sorted by zone.

    >>> [record.zone for record in records(["DE-LU"])]
    ['DEU', 'WORLD']
    """
    wanted = None if zones is None else {each for zone in zones for each in grid.fallbacks(zone)}
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if wanted is None or row["zone"] in wanted]
    return [_record(row) for row in sorted(rows, key=lambda row: row["zone"])]


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


def publish(settings: Settings, zones: Iterable[str] | None = None) -> int:
    """Write the records to the log; the number written, 0 if a file log has this edition whole already."""
    found = records(zones)
    with open_sink(settings, partition=PARTITION if zones is None else f"{PARTITION}.part") as sink:
        if zones is None and sink.has("intensity"):
            return 0
        for record in found:
            sink.append("intensity", record.to_avro())
    return len(found)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; the exit code."""
    parser = argparse.ArgumentParser(
        prog="kappawatt collect intensity", description="publish the bundled yearly grid intensity of all countries"
    )
    parser.add_argument("--log", help="file:DIR or kafka://HOST:PORT; default KAPPAWATT_LOG")
    parser.add_argument("--registry", help="schema registry for kafka://")
    parser.add_argument("--zone", action="append", help="only this zone and what it falls back to; may be repeated")
    parser.add_argument("--print", action="store_true", help="print the values instead of publishing them")
    arguments = parser.parse_args(argv)
    if arguments.zone and (unknown := [z for z in arguments.zone if not grid.country_of(z) and z != grid.WORLD]):
        raise SettingsError(f"--zone {unknown[0]} names no country; write DEU, DE or DE-LU, or WORLD")
    if arguments.print:
        for record in records(arguments.zone):
            print(f"{record.zone}\t{record.intensity_g_per_kwh:g} g/kWh\t{record.revision}\t{record.dataset}")
        return 0
    settings = load({"log": arguments.log, "registry": arguments.registry})
    count = publish(settings, arguments.zone)
    print(f"{count} intensity records written to {masked(settings.log)} (Ember, CC BY 4.0)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
