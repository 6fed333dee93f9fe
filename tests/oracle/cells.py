"""Semantics §2: counted samples cut into pieces, and what is added up from them before any price is known."""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.model import W5M, W5S, Record
from tests.oracle.prices import PARTS
from tests.oracle.verdicts import run_of

MEASURED = frozenset((1, 2, 3))
PILLAR = {1: 0, 2: 1, 3: 2}
"""Kind code → place in a cell; all other codes are other, at 3."""

Covered = list[int]
"""Of one host in one window: length covered, first piece's start, last piece's end."""


@dataclass(slots=True)
class DeviceRow:
    """What one device of one run shows in five minutes."""

    kind: int = 0
    energy_uj: int = 0
    estimated_uj: int = 0
    samples: int = 0
    utilization: list[int] = field(default_factory=list)
    temperature_c: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class RunSum:
    """Totals of a run that are not sums of cells."""

    samples: int = 0
    known: dict[str, int | None] = field(default_factory=dict)
    memory_bytes: list[int] = field(default_factory=list)
    gpus: set[tuple[str, str]] = field(default_factory=set)
    covered: dict[str, Covered] = field(default_factory=dict)

    @property
    def first_start(self) -> int:
        return min(first for _, first, _ in self.covered.values())

    @property
    def last_end(self) -> int:
        return max(last for _, _, last in self.covered.values())


class Cells:
    """Everything that counted samples add up to, in dicts of ints.

    `cells`: (run, zone) → 5-s window number → nine integers. `starts`: run → 5-s window number → samples that start
    there. `covered`: run → 5-s window number → host → covered. `devices`: (run, host, 5-min number) → device → row.
    """

    def __init__(self, samples: Iterable[Record]) -> None:
        self.cells: dict[tuple[str, str], dict[int, list[int]]] = {}
        self.starts: dict[str, dict[int, int]] = {}
        self.covered: dict[str, dict[int, dict[str, Covered]]] = {}
        self.devices: dict[tuple[str, str, int], dict[str, DeviceRow]] = {}
        self.runs: dict[str, RunSum] = {}
        for record in samples:
            run = run_of(record)
            self._add_cells(run, record)
            self._add_cover(run, record)
            self._add_devices(run, record)
            self._add_total(run, record)

    def _add_cells(self, run: str, record: Record) -> None:
        start, end = record["start"], record["end"]
        windows = self.cells.setdefault((run, record["zone"] or "WORLD"), {})
        places = [
            PILLAR.get(kind, 3) if method in MEASURED else PILLAR.get(kind, 3) + 4
            for kind, method in zip(record["kind"], record["method"], strict=True)
        ]
        quantities = list(
            zip(
                [*places, 8],
                [*record["energy_uj"], record["water_ul"] if _is_known(record["water_ul"]) else 0],
                strict=True,
            )
        )
        first, last = start // W5S, (end - 1) // W5S
        if first == last:
            cell = windows.setdefault(first, [0] * PARTS)
            for place, amount in quantities:
                cell[place] += amount
            return
        length = end - start
        before = [0] * len(quantities)
        for window in range(first, last + 1):
            cell = windows.setdefault(window, [0] * PARTS)
            passed = min(end, (window + 1) * W5S) - start
            for index, (place, amount) in enumerate(quantities):
                part = amount * passed // length
                cell[place] += part - before[index]
                before[index] = part

    def _add_cover(self, run: str, record: Record) -> None:
        start, end, host = record["start"], record["end"], record["host"]
        counts = self.starts.setdefault(run, {})
        counts[start // W5S] = counts.get(start // W5S, 0) + 1
        windows = self.covered.setdefault(run, {})
        for window in range(start // W5S, (end - 1) // W5S + 1):
            low, high = max(start, window * W5S), min(end, (window + 1) * W5S)
            cover(windows.setdefault(window, {}), host, high - low, low, high)

    def _add_devices(self, run: str, record: Record) -> None:
        start, end, host = record["start"], record["end"], record["host"]
        length = end - start
        before: dict[int, int] = {}
        for window in range(start // W5M, (end - 1) // W5M + 1):
            passed = min(end, (window + 1) * W5M) - start
            rows = self.devices.setdefault((run, host, window), {})
            for index, (device, kind, method, energy) in enumerate(
                zip(record["device"], record["kind"], record["method"], record["energy_uj"], strict=True)
            ):
                row = rows.get(device)
                if row is None:
                    row = rows[device] = DeviceRow(kind)
                part = energy * passed // length
                piece = part - before.get(index, 0)
                before[index] = part
                row.kind = max(row.kind, kind)
                row.energy_uj += piece
                if method not in MEASURED:
                    row.estimated_uj += piece
                if window == start // W5M:
                    _add_reading(row, record, index)

    def _add_total(self, run: str, record: Record) -> None:
        total = self.runs.setdefault(run, RunSum())
        total.samples += 1
        cover(total.covered, record["host"], record["end"] - record["start"], record["start"], record["end"])
        for column, names in TRAFFIC.items():
            known = [record[name] for name in names if _is_known(record[name])]
            before = total.known.setdefault(column, None)
            if known:
                total.known[column] = (before or 0) + sum(known)
        memory = [
            size
            for kind, size in zip(record["kind"], record["memory_bytes"], strict=True)
            if kind == 3 and _is_known(size)
        ]
        if memory:
            total.memory_bytes.append(sum(memory))
        for kind, device in zip(record["kind"], record["device"], strict=True):
            if kind == 2:
                total.gpus.add((record["host"], device))


TRAFFIC = {
    "cpu_time_us": ("cpu_time_us",),
    "disk_bytes": ("disk_read_bytes", "disk_write_bytes"),
    "network_bytes": ("network_rx_bytes", "network_tx_bytes"),
}


def cover(hosts: dict[str, Covered], host: str, length: int, first: int, last: int) -> None:
    """Add a piece, or a window's covered, of a host."""
    known = hosts.get(host)
    if known is None:
        hosts[host] = [length, first, last]
        return
    known[0] += length
    known[1] = min(known[1], first)
    known[2] = max(known[2], last)


def coverage(hosts: Iterable[Covered]) -> float:
    """Σ covered ÷ Σ span over hosts, one float division, at most 1."""
    lengths = list(hosts)
    spans = sum(last - first for _, first, last in lengths)
    return min(1.0, sum(length for length, _, _ in lengths) / spans)


def as_float32(value: float) -> float:
    """What an Avro float holds of a value."""
    return struct.unpack("<f", struct.pack("<f", value))[0]  # type: ignore[no-any-return]  # struct gives Any


def _is_known(value: int) -> bool:
    return 0 <= value < 2**53


def _add_reading(row: DeviceRow, record: Record, index: int) -> None:
    row.samples += 1
    used = as_float32(record["utilization"][index])
    if abs(used) < 1_000_000:
        row.utilization.append(round(used * 1_000_000))
    warmth = as_float32(record["temperature_c"][index])
    if math.isfinite(warmth):
        row.temperature_c.append(warmth)
    if record["memory_bytes"][index] >= 0:
        row.memory_bytes.append(record["memory_bytes"][index])


def device_columns(row: DeviceRow) -> dict[str, Any]:
    """The columns of a device row behind its key."""
    used = row.utilization
    return {
        "kind": row.kind,
        "energy_uj": row.energy_uj,
        "estimated_uj": row.estimated_uj,
        "samples": row.samples,
        "utilization": sum(used) / len(used) / 1_000_000 if used else None,
        "temperature_c_max": max(row.temperature_c, default=None),
        "memory_bytes_max": max(row.memory_bytes, default=None),
        "final": True,
    }
