"""What a bucket sends to a shard: pre-aggregated columns, small enough to be pickled between processes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.table import Column

Ints = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

CELL_COLUMNS = {
    "energy_uj": Column("sum", 8),
    "water_ul": Column("sum"),
    "covered_us": Column("sum"),
    "first_us": Column("min"),
    "last_us": Column("max"),
    "samples": Column("sum"),
}
"""Of pieces by (place, 5-s window); a place is (run, host, zone)."""

USAGE_COLUMNS = {
    "cpu_time_us": Column("sum"),
    "cpu_known": Column("sum"),
    "disk_bytes": Column("sum"),
    "disk_known": Column("sum"),
    "network_bytes": Column("sum"),
    "network_known": Column("sum"),
    "memory_bytes_max": Column("max"),
    "samples": Column("sum"),
    "first_us": Column("min"),
    "last_us": Column("max"),
    "covered_us": Column("sum"),
}
"""Of samples by place; `*_known` counts the values that were not −1, memory is −1 where unknown."""

DEVICE_COLUMNS = {
    "energy_uj": Column("sum"),
    "estimated_uj": Column("sum"),
    "samples": Column("sum"),
    "utilization_ppm": Column("sum"),
    "utilization_known": Column("sum"),
    "temperature_c_max": Column("max", dtype="float64"),
    "memory_bytes_max": Column("max"),
    "kind": Column("max"),
    "is_gpu": Column("max"),
}
"""Of readings by (device, 5-min window); a device is (run, host, name). Temperature is −inf where unknown."""


class Place(NamedTuple):
    """Where energy is booked: the run (`~host` if none), the host that drew it, the electricity zone."""

    run_id: str
    host: str
    zone: str


class Device(NamedTuple):
    """One device of a host within a run."""

    run_id: str
    host: str
    name: str


class Frame(NamedTuple):
    """One batch's contribution to one shard. Index columns point into `places` and `devices`."""

    places: list[Place]
    cell_place: Ints
    cell_window: Ints
    cells: Columns
    usage_place: Ints
    usage: Columns
    devices: list[Device]
    device: Ints
    device_window: Ints
    device_rows: Columns


class Suspect(NamedTuple):
    """A sample that may be late: its identity, and its energy by 5-s window; a frame carries it as well."""

    run_id: str
    collector_id: str
    seq: int
    host: str
    start_us: int
    end_us: int
    window: Ints
    energy_uj: Ints
