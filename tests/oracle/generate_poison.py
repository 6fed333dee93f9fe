"""Records that must be rejected, one for each reason, and data that cannot be read."""

import random
from typing import Any

from tests.oracle.model import DAY, SECOND, Dead, Record

YEAR_2200 = 7_258_118_400 * SECOND


def poison(samples: dict[str, list[Record | Dead]], rng: random.Random, *, midnight_us: int, kafka: bool) -> None:
    """Put spoilt records into the partitions, some twice, each with an identity of its own.

    They go behind the middle, where every partition has counted something, so that what is old is `expired`.
    """
    names = sorted(name for name, records in samples.items() if len(records) >= 8)
    for number, change in enumerate(_changes(midnight_us)):
        partition = rng.choice(names)
        spoilt = _copy(samples[partition], number) | change
        _insert(samples[partition], spoilt, rng)
        if number % 3 == 0:
            samples[partition].append(dict(spoilt))
    reasons = ["undecodable", "trailing_bytes"] + (["magic", "unknown_schema"] if kafka else [])
    for number, reason in enumerate(reasons * 2):
        partition = rng.choice(names)
        _insert(samples[partition], Dead(reason, _copy(samples[partition], 900 + number)), rng)


def _copy(records: list[Record | Dead], number: int) -> Record:
    whole = next(record for record in records if not isinstance(record, Dead))
    return whole | {"collector_id": f"{whole['host']}-spoilt-{number}", "seq": number}


def _insert(records: list[Record | Dead], record: Record | Dead, rng: random.Random) -> None:
    records.insert(rng.randint(len(records) // 2, len(records)), record)


def _changes(midnight_us: int) -> list[dict[str, Any]]:
    """What is wrong with each record; several things at once where the order of the reasons matters."""
    one = {"kind": [2], "method": [1], "device": ["gpu:0"], "energy_uj": [5]}
    one |= {"utilization": [0.5], "temperature_c": [50.0], "memory_bytes": [1]}
    old = midnight_us - 40 * DAY
    return [
        one | {"device": ["gpu:0", "gpu:1"], "run_id": "~x"},
        one | {"temperature_c": []},
        {name: [] for name in one},
        {"run_id": "~taken"},
        {"run_id": ""},
        {"collector_id": "", "run_id": None},
        {"start": midnight_us, "end": midnight_us},
        {"start": midnight_us, "end": midnight_us - SECOND},
        {"start": midnight_us, "end": midnight_us + 3_000 * SECOND},
        {"start": -5, "end": SECOND},
        {"start": YEAR_2200, "end": YEAR_2200 + SECOND},
        one | {"energy_uj": [-1]},
        one | {"start": midnight_us, "end": midnight_us + SECOND, "energy_uj": [10**12 + 1]},
        one | {"start": midnight_us, "end": midnight_us + 2_999 * SECOND, "energy_uj": [2**53]},
        {"start": old, "end": old + SECOND},
    ]
