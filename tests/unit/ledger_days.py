"""Days of many runs for a shard, as frames that buckets would have made: one sample a second, 8 GPUs and a CPU."""

from collections.abc import Sequence

import numpy as np

from kappawatt.ledger.frames import USAGE_COLUMNS, Device, Frame, Place
from kappawatt.units import WINDOW_5M_US, WINDOW_5S_US

SECOND = 1_000_000
HOUR = 3_600 * SECOND


def frame(places: Sequence[Place], start_us: int, end_us: int, seed: int = 0) -> Frame:
    """The cells of some places in [start, end), on edges of 5 s: 3 kW with some noise, never twice the same."""
    rng = np.random.default_rng(seed)
    windows = np.arange(start_us // WINDOW_5S_US, end_us // WINDOW_5S_US)
    count = len(windows) * len(places)
    energy = np.zeros((count, 8), np.int64)
    energy[:, 0] = rng.integers(900_000_000, 1_100_000_000, count)
    energy[:, 2] = rng.integers(13_000_000_000, 15_000_000_000, count)
    window = np.tile(windows, len(places))
    cells = {
        "energy_uj": energy,
        "water_ul": np.zeros(count, np.int64),
        "covered_us": np.full(count, WINDOW_5S_US),
        "first_us": window * WINDOW_5S_US,
        "last_us": (window + 1) * WINDOW_5S_US,
        "samples": np.full(count, 5),
    }
    names = [name for name, column in USAGE_COLUMNS.items() if not name.endswith("_us") or name == "cpu_time_us"]
    usage = {name: np.ones(len(places), np.int64) for name in names}
    usage |= {
        "samples": np.full(len(places), (end_us - start_us) // SECOND),
        "first_us": np.full(len(places), start_us),
        "last_us": np.full(len(places), end_us),
        "covered_us": np.full(len(places), end_us - start_us),
    }
    devices = [Device(place.run_id, place.host, f"gpu:{gpu}") for place in places for gpu in range(8)]
    five = np.arange(start_us // WINDOW_5M_US, -(-end_us // WINDOW_5M_US))
    rows = len(devices) * len(five)
    named = ("energy_uj", "estimated_uj", "samples", "utilization_ppm", "utilization_known", "memory_bytes_max", "kind")
    device_rows = {name: np.full(rows, 300) for name in named} | {"is_gpu": np.ones(rows, np.int64)}
    device_rows["temperature_c_max"] = np.full(rows, 61.5)
    return Frame(
        list(places),
        np.repeat(np.arange(len(places)), len(windows)),
        window,
        cells,
        np.arange(len(places)),
        usage,
        devices,
        np.repeat(np.arange(len(devices)), len(five)),
        np.tile(five, len(devices)),
        device_rows,
    )
