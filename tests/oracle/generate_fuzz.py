"""Logs at the edges of what the contract allows: `fuzz(seed)` draws every field from its awkward values.

Where `generate` is like a fleet, this is like nothing that a collector would write: intervals of 1 µs and of almost
3,000 s that begin and end on edges or a step beside them, energies up to the limit, unknown codes, repeated devices,
strange ids, phases and prices that overlap in every way.
"""

import math
import random
from typing import Any

from tests.oracle.cells import as_float32
from tests.oracle.model import DAY, SECOND, W1H, W5M, W5S, Dead, Log, Record
from tests.oracle.records import MIDNIGHT, event, price, sample

RUNS = (None, "a", "b", "run with spaces", "rün/✓", "x" * 200, "A")
ZONES = ("DE", "DEU", "de", "", "WORLD", "XX-LAB", "US-CAL-CISO", "USA", "XYZ", "DEU-1", "FR")
PRICED = ("DE", "DEU", "WORLD", "USA", "XYZ", "US-CAL-CISO", "XX-LAB")
LENGTHS = (1, 2, SECOND, W5S - 1, W5S, W5S + 1, 61 * SECOND, W5M, 2_999 * SECOND, 3_000 * SECOND - 1)
CODES = (-7, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 99)
DEVICES = ("gpu:0", "gpu:1", "cpu:0", "memory:0", "möbius", "gpu:0")
FLOATS = (math.nan, math.nan, math.inf, -math.inf, 0.0, -0.0, 0.5, 1.0, 1.5, -0.25, 0.3333333, 4.5e-7, 1e3)
BYTES = (-1, -1, -9, 0, 1, 1 << 50)
PHASES = ("a", "b", "c", "unphased", "")


def fuzz(seed: int, *, midnight_us: int = MIDNIGHT, samples: int = 60) -> Log:
    """A log of a few partitions, *samples* records each before repeats."""
    rng = random.Random(f"fuzz {seed}")
    log = Log()
    for number in range(rng.randint(1, 4)):
        log.samples[f"p{number}"] = _partition(number, samples, midnight_us, rng)
    log.append_us = {name: [midnight_us + DAY] * len(records) for name, records in log.samples.items()}
    log.run_events = _events(midnight_us, rng)
    log.intensity = _prices(midnight_us, rng)
    return log


def _partition(number: int, count: int, midnight_us: int, rng: random.Random) -> list[Record | Dead]:
    records: list[Record | Dead] = []
    shown = clock = midnight_us - W1H
    for _ in range(count):
        start, end = _interval(clock, rng)
        # What ends that long before the newest could be late: not a function of the log.
        if (start // W5S + 1) * W5S + 900 * SECOND <= shown:
            continue
        record = _sample(number, start, end, rng)
        shown = max(shown, end)
        clock = max(clock, end) if rng.random() < 0.5 else clock + rng.randrange(20 * SECOND)
        records.append(record)
        if rng.random() < 0.1:
            records.append(record | {"energy_uj": [7] * len(record["kind"]), "run_id": rng.choice(RUNS)})
        if rng.random() < 0.03:
            records.append(Dead(rng.choice(("undecodable", "trailing_bytes")), record))
    return records


def _interval(clock: int, rng: random.Random) -> tuple[int, int]:
    """An interval near the clock, on an edge or beside one more often than not."""
    start = clock + rng.randrange(-30 * SECOND, 30 * SECOND)
    if rng.random() < 0.6:
        width = rng.choice((W5S, W5S, W5M, W1H))
        start = start // width * width + rng.choice((-1, 0, 0, 1))
    length = rng.choice(LENGTHS) if rng.random() < 0.7 else rng.randrange(1, 20 * SECOND)
    # Long ones are rare: each touches 600 windows.
    return start, start + (length if length < W5M or rng.random() < 0.2 else SECOND)


def _sample(number: int, start: int, end: int, rng: random.Random) -> Record:
    readings = rng.randint(1, 5)
    limit = min(2**53 - 1, 1_000_000 * (end - start))

    def energy() -> int:
        return rng.choice((0, 1, 2, limit, limit - 1, rng.randrange(limit + 1), rng.randrange(min(limit, 1_000) + 1)))

    arrays: dict[str, list[Any]] = {
        "kind": [rng.choice(CODES) for _ in range(readings)],
        "method": [rng.choice(CODES) for _ in range(readings)],
        "energy_uj": [energy() for _ in range(readings)],
        "device": [rng.choice(DEVICES) for _ in range(readings)],
        "utilization": [as_float32(rng.choice(FLOATS)) for _ in range(readings)],
        "temperature_c": [as_float32(rng.choice(FLOATS)) for _ in range(readings)],
        "memory_bytes": [rng.choice(BYTES) for _ in range(readings)],
    }
    names = ("cpu_time_us", "disk_read_bytes", "disk_write_bytes", "network_rx_bytes", "network_tx_bytes")
    traffic = {name: rng.choice((-1, -7, 0, 1, 1 << 40)) for name in names}
    return sample(
        collector_id=f"c{number}-{rng.randrange(3)}",
        seq=rng.choice((rng.randrange(-5, 60), rng.randrange(1000), rng.randrange(1 << 40))),
        host=rng.choice((f"h{number}", "h", "höst 1")),
        run_id=rng.choice(RUNS),
        zone=rng.choice(ZONES),
        start=start,
        end=end,
        water_ul=rng.choice((0, 0, 0, 1, 3, 10**9)),
        **arrays,
        **traffic,
    )


def _events(midnight_us: int, rng: random.Random) -> list[Record]:
    instants = [midnight_us + rng.randrange(-W1H, W1H) for _ in range(6)]
    instants += [instant // W5S * W5S + step for instant in instants for step in (-1, 0, 1)]
    events = []
    for number in range(rng.randrange(80)):
        run = rng.choice([run for run in RUNS if run] + ["ghost"])
        kind = rng.choice(("start", "stop", "heartbeat", "epoch", *("phase_start", "phase_start", "phase_end") * 2))
        said: dict[str, Any] = {
            "pue": rng.choice((None, None, 1.0, 1.1, 1.5)),
            "wue_l_per_kwh": rng.choice((None, None, 0.0, 0.2, 1.8)),
            "user": rng.choice((None, "", "u1", "u2")),
            "rank": rng.choice((None, None, 0, 0, 1, -1)),
            "phase": rng.choice(PHASES) if kind.startswith("phase") else rng.choice((None, "a")),
            "status": rng.choice((None, "failed", "lost", "succeeded")),
            "epoch": rng.choice((None, 0, 3)),
            "metrics": rng.choice(({}, {"loss": 0.25, "other": 1.0})),
            "labels": rng.choice(({}, {"name": "n"}, {"b": "✓", "a": '"'})),
        }
        events.append(
            event(run_id=run, event_id=f"e{number % 50:02d}x{number}", type=kind, at=rng.choice(instants), **said)
        )
    return events + [dict(record) for record in events if rng.random() < 0.1]


def _prices(midnight_us: int, rng: random.Random) -> list[Record]:
    prices = []
    for number in range(rng.randrange(120)):
        start = midnight_us + rng.randrange(-24, 24) * W5M
        prices.append(
            price(
                zone=rng.choice(PRICED),
                valid_from=start,
                valid_to=start + rng.choice((1, 1, 2, 3, 12, 100)) * W5M,
                # Unequal by their number alone, so that the order of the page decides every time.
                intensity_g_per_kwh=rng.choice((0.0, 100.0, 250.5, 900.1)) + number / 1_024,
                kind=rng.choice(("actual", "estimated", "forecast", "static")),
                signal=rng.choice(("average", "average", "average", "marginal")),
                provider=rng.choice(("p", "q")),
                dataset=rng.choice(("v1", "v2")),
                revision=rng.randrange(3),
                published_at=midnight_us + rng.randrange(3),
                water_l_per_kwh=rng.choice((None, 0.0, 1.7)),
                price_per_kwh=rng.choice((None, 0.0, 0.31, -0.02)),
                currency=rng.choice((None, "EUR", "EUR", "EUR", "USD")),
            )
        )
    return prices
