"""What a right answer is: plain integers and dicts, nothing of the product, no streams.

Energy of a device over [a, b): the part before instant x is floor(E * (x - a) / (b - a)); a piece is the difference of
two such parts. Cells are per (run, zone, 5-s window); rows and grams are added up from them at the end.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SLOT_US = 5_000_000
WIDE_US = 300_000_000
MEASURED = (1, 2, 3)
CPU, GPU, MEMORY = 1, 2, 3
NAMES = ("cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj")
UJ_PER_KWH = 3.6e12

Cells = dict[tuple[str, str, int], list[int]]
"""(run, zone, start of the 5-s window) → cpu, gpu, memory, other, estimated."""


class Devices(NamedTuple):
    """Kind and method of each device of a tick."""

    kinds: tuple[int, ...]
    methods: tuple[int, ...]


def pivot(devices: Devices, energies: Sequence[int]) -> tuple[int, ...]:
    """cpu, gpu, memory, other, estimated of one tick's energies.

    >>> pivot(Devices((1, 2, 5), (1, 4, 0)), [10, 20, 30])
    (10, 20, 0, 30, 50)
    """
    sums = [0, 0, 0, 0, 0]
    for kind, method, energy in zip(devices.kinds, devices.methods, energies, strict=True):
        sums[kind - 1 if kind in (CPU, GPU, MEMORY) else 3] += energy
        if method not in MEASURED:
            sums[4] += energy
    return tuple(sums)


def pieces(start: int, end: int, energies: Sequence[int]) -> list[tuple[int, list[int]]]:
    """A tick cut at the edges of 5-s windows: (window's start, energy of each device).

    >>> pieces(4_000_000, 6_000_000, [7, 1])
    [(0, [3, 0]), (5000000, [4, 1])]
    """
    cut = []
    before = [0] * len(energies)
    slot = start // SLOT_US * SLOT_US
    while slot < end:
        edge = min(slot + SLOT_US, end)
        until = [energy * (edge - start) // (end - start) for energy in energies]
        cut.append((slot, [b - a for a, b in zip(before, until, strict=True)]))
        before, slot = until, slot + SLOT_US
    return cut


class Oracle:
    """Takes every tick that counts, once, and says whether it is late; gives the rows that an engine has to write."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._on_time: Cells = defaultdict(lambda: [0, 0, 0, 0, 0])
        self._late: Cells = defaultdict(lambda: [0, 0, 0, 0, 0])
        self.counts = {"duplicate": 0, "late": 0, "dead": 0}

    def __repr__(self) -> str:
        return f"<Oracle {len(self._on_time)} cells, {self.counts}>"

    def take(
        self, run: str, zone: str, start: int, end: int, energies: Sequence[int], whole: Sequence[int], *, late: bool
    ) -> None:
        """A tick. *whole* is the pivot of its energies, for those that cross no edge."""
        cells = self._late if late else self._on_time
        if late:
            self.counts["late"] += 1
        slot = start - start % SLOT_US
        if end <= slot + SLOT_US:
            _add(cells[run, zone, slot], whole)
            return
        for at, parts in pieces(start, end, energies):
            _add(cells[run, zone, at], pivot(self._devices, parts))

    def rows(self, intensity: Callable[[str, int], float]) -> dict[str, dict[str, Any]]:
        """Key → value as an engine writes it. *intensity*: g/kWh of a zone at the start of a 5-s window."""
        found: dict[str, dict[str, Any]] = {}
        grams: dict[str, list[float]] = defaultdict(list)
        for cells, late in ((self._on_time, False), (self._late, True)):
            for (run, zone, slot), sums in cells.items():
                gram = sum(sums[:4]) * intensity(zone, slot) / UJ_PER_KWH
                keys = [] if late else [f"{run}|5|{slot}", f"{run}|300|{slot - slot % WIDE_US}"]
                for key in keys:
                    _add_named(found.setdefault(key, {}), sums, NAMES)
                    grams[key].append(gram)
                total = f"{run}|total|0"
                _add_named(found.setdefault(total, {}), sums, ())
                grams[total].append(gram)
        for key, row in found.items():
            row["emissions_g"] = math.fsum(grams[key])
        return found


def _add(cell: list[int], parts: Sequence[int]) -> None:
    cell[0] += parts[0]
    cell[1] += parts[1]
    cell[2] += parts[2]
    cell[3] += parts[3]
    cell[4] += parts[4]


def _add_named(row: dict[str, Any], sums: Sequence[int], names: Sequence[str]) -> None:
    row["energy_uj"] = row.get("energy_uj", 0) + sum(sums[:4])
    for name, value in zip(names, sums, strict=False):
        row[name] = row.get(name, 0) + value
