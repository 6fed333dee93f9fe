"""Whole records with plain defaults, so that a test names only what it is about."""

import math
from typing import Any

from tests.oracle.model import SECOND, W5M, Record

MIDNIGHT = 1_740_873_600 * SECOND
"""2025-03-02 00:00 UTC: the default midnight that generated logs cross."""

UNSAID = (
    *("host", "rank", "phase", "epoch", "user", "team", "project", "model", "framework", "dataset", "environment"),
    *("zone", "pue", "wue_l_per_kwh", "budget_energy_uj", "budget_emissions_g", "budget_water_l", "budget_cost"),
    "status",
)
"""What a run event may leave out."""


def sample(**fields: Any) -> Record:
    """A sample of 1 s with one GPU reading; arrays that are not given are as long as `energy_uj`."""
    energies = fields.get("energy_uj", [1_000_000])
    start = fields.get("start", MIDNIGHT)
    arrays: Record = {
        "kind": [2] * len(energies),
        "method": [1] * len(energies),
        "energy_uj": energies,
        "device": [f"gpu:{number}" for number in range(len(energies))],
        "utilization": [math.nan] * len(energies),
        "temperature_c": [math.nan] * len(energies),
        "memory_bytes": [-1] * len(energies),
    }
    return {
        "collector_id": "c1",
        "seq": 0,
        "host": "h1",
        "run_id": "r1",
        "zone": "DE",
        "start": start,
        "end": fields.get("end", start + SECOND),
        **arrays,
        "flags": [],
        "cpu_time_us": -1,
        "disk_read_bytes": -1,
        "disk_write_bytes": -1,
        "network_rx_bytes": -1,
        "network_tx_bytes": -1,
        "water_ul": 0,
        **fields,
    }


def price(**fields: Any) -> Record:
    """An actual average intensity of 100 g/kWh for the five minutes from midnight in DE."""
    start = fields.get("valid_from", MIDNIGHT)
    return {
        "zone": "DE",
        "valid_from": start,
        "valid_to": start + W5M,
        "intensity_g_per_kwh": 100.0,
        "kind": "actual",
        "signal": "average",
        "provider": "grid",
        "dataset": "v1",
        "revision": 0,
        "published_at": start + W5M,
        "factor": "lifecycle",
        "water_l_per_kwh": None,
        "price_per_kwh": None,
        "currency": None,
        "renewable": None,
        **fields,
    }


def event(**fields: Any) -> Record:
    """A heartbeat of run r1 at midnight that says nothing else."""
    empty = dict.fromkeys(UNSAID)
    return {
        "event_id": "e1",
        "run_id": "r1",
        "type": "heartbeat",
        "at": MIDNIGHT,
        **empty,
        "metrics": {},
        "hardware": [],
        "labels": {},
        **fields,
    }
