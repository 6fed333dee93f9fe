"""A simulated fleet: many hosts, several trainings at a time, for demos, tests and load. Labelled so on every record.

    kappawatt collect simulate --log file:log --hosts 6 --runs 3 --duration 2h
    python -m collectors.simulate --realtime

Every energy has method `simulated` (so it counts as estimated) and every run the label `simulated`. The same settings
give the same records, byte for byte.
"""

import argparse
import json
import math
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from kappawatt import logs
from kappawatt.commands import base
from kappawatt.errors import SettingsError
from kappawatt.settings import load, masked
from kappawatt.units import US_PER_S

from .fleet import Record, SimulateSettings, generate
from .sink import open_sink

__all__ = ["SimulateSettings", "generate", "main", "pace"]


def pace(
    records: Iterator[tuple[str, Record]], now_us: Callable[[], int], wait: Callable[[float], None]
) -> Iterator[tuple[str, Record]]:
    """The records, each not before its time has come."""
    for topic, record in records:
        due_us = record["end"] if topic == "sample" else record["at"]
        while (early_us := due_us - now_us()) > 0:
            wait(early_us / US_PER_S)
        yield topic, record


def main(argv: Sequence[str] | None = None) -> int:
    """The program; the exit code."""
    arguments = _parser().parse_args(argv)
    settings = load(base.given_flags(arguments))
    logs.begin(settings, "collect simulate")
    now_us = time.time_ns() // 1_000
    duration_s = _seconds(arguments.duration)
    fleet = SimulateSettings(
        start_us=now_us if arguments.realtime else _start_us(arguments.start, now_us, duration_s),
        duration_s=math.inf if arguments.realtime and arguments.duration is None else duration_s,
        hosts=arguments.hosts,
        runs=arguments.runs,
        gpus=arguments.gpus,
        period_s=arguments.period,
        seed=arguments.seed,
    )
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # by way of the sink, which is closed
    records = generate(fleet)
    if arguments.realtime:
        records = pace(records, lambda: time.time_ns() // 1_000, time.sleep)
    if arguments.print:
        for topic, record in records:
            print(json.dumps({"topic": topic, **_without_nan(record)}, allow_nan=False))
        return 0
    count = 0
    with open_sink(settings, partition=f"simulated.{fleet.seed}.{fleet.start_us}") as sink:
        for topic, record in records:
            sink.append(topic, record)
            count += 1
            if arguments.realtime:
                sink.flush()
    base.say(f"{count} simulated records written to {masked(settings.log)}")
    return 0


def _without_nan(record: Record) -> dict[str, Any]:
    """The record with null for what is unknown: JSON has no NaN."""
    celsius = record.get("temperature_c")
    return record if celsius is None else {**record, "temperature_c": [None if math.isnan(c) else c for c in celsius]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kappawatt collect simulate", description="make the records of a simulated fleet, labelled so"
    )
    base.add_settings(parser, "log", "registry", "topic_prefix", "spool", "log_format")
    parser.add_argument("--hosts", type=int, default=6, help="hosts [6]")
    parser.add_argument("--runs", type=int, default=3, help="trainings at a time [3]")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs a host [8]")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between two samples of a host [1]")
    parser.add_argument("--seed", type=int, default=7, help="the same seed and start give the same records [7]")
    parser.add_argument("--start", help="first instant, ISO 8601 UTC; default: so that it ends now")
    parser.add_argument("--duration", help="how long: 90s, 30m, 2h, 1d; default 1h, with --realtime for ever")
    parser.add_argument("--realtime", action="store_true", help="from now on, each record at its time")
    parser.add_argument("--print", action="store_true", help="print JSON lines instead of writing a log")
    return parser


def _seconds(text: str | None) -> float:
    if text is None:
        return 3_600.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found:
        raise SettingsError(f"--duration {text} is not a time; write 90s, 30m, 2h or 1d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]]


def _start_us(text: str | None, now_us: int, duration_s: float) -> int:
    if text is None:
        return now_us - round(duration_s * US_PER_S)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--start {text} is not a time; write 2026-01-31T12:00:00Z") from error
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * US_PER_S)


if __name__ == "__main__":
    sys.exit(main())
