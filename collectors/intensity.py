"""Grid intensity for everywhere: the bundled yearly country table as records of topic `intensity`.

    kappawatt collect intensity --log file:log
    python -m collectors.intensity --zone DEU --zone FRA --print

Values are Ember's (CC BY 4.0, see kappawatt/data/ATTRIBUTION.md): lifecycle, yearly, location-based. They are `static`:
any actual, estimated or forecast value goes before them, so publishing them never hides a better one.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence

from kappawatt import grid, logs, static_intensity
from kappawatt.commands import base
from kappawatt.errors import SettingsError
from kappawatt.settings import Settings, load, masked
from kappawatt.wire.records import Intensity

from .sink import open_sink

PARTITION = "ember-yearly-2025.08.03"
"""Partition of a file log that holds the bundled edition."""


def records(zones: Iterable[str] | None = None) -> list[Intensity]:
    """The newest year of every country and of `WORLD`, or of *zones* and what they fall back to, sorted by zone.

    >>> [record.zone for record in records(["DE-LU"])]
    ['DEU', 'WORLD']
    """
    if zones is None:
        return static_intensity.records(None)
    found = {record.zone: record for zone in zones for record in static_intensity.records(zone)}
    return [found[zone] for zone in sorted(found)]


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
    base.add_settings(parser, "log", "registry", "topic_prefix", "spool", "log_format")
    parser.add_argument("--zone", action="append", help="only this zone and what it falls back to; may be repeated")
    parser.add_argument("--print", action="store_true", help="print the values instead of publishing them")
    arguments = parser.parse_args(argv)
    if arguments.zone and (unknown := [z for z in arguments.zone if not grid.country_of(z) and z != grid.WORLD]):
        raise SettingsError(f"--zone {unknown[0]} names no country; write DEU, DE or DE-LU, or WORLD")
    if arguments.print:
        for record in records(arguments.zone):
            print(f"{record.zone}\t{record.intensity_g_per_kwh:g} g/kWh\t{record.revision}\t{record.dataset}")
        return 0
    settings = load(base.given_flags(arguments))
    logs.begin(settings, "collect intensity")
    count = publish(settings, arguments.zone)
    base.say(f"{count} intensity records written to {masked(settings.log)} (Ember, CC BY 4.0)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
