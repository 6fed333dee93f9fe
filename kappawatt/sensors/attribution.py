"""Who used it: a device's energy shared out among runs, to the last microjoule. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kappawatt.sensors.source import Reading
from kappawatt.wire.codes import DeviceKind, Method

_SCALE = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The whole host over one interval: CPU time that all logical CPUs had and were busy (µs), memory now (bytes)."""

    cpu_capacity_us: int
    cpu_busy_us: int
    memory_used_bytes: int
    memory_total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One run over one interval: CPU time (µs), memory now (bytes), and its weight on each GPU that it uses."""

    cpu_time_us: int = 0
    memory_bytes: int = 0
    gpu_weights: Mapping[str, float] = field(default_factory=dict)


def share_out(device_uj: int, shares: Mapping[str, float]) -> dict[str | None, int]:
    """The energy of each share in whole µJ, and of nobody (None): together exactly *device_uj*.

    Shares are parts of 1; together above 1 (clocks are read one after the other) they are scaled down to 1. Whole
    microjoules go by largest remainder, ties by name, so the result depends on nothing but the arguments.

    >>> share_out(device_uj=10, shares={"a": 0.3, "b": 0.5})
    {'a': 3, 'b': 5, None: 2}
    """
    weights = {name: _whole(share) for name, share in shares.items()}
    taken = sum(weights.values())
    total = taken if taken >= _SCALE - len(weights) else _SCALE  # closer to 1 than rounding can tell: nothing is left
    rows: list[tuple[str | None, int]] = [*weights.items(), (None, total - taken)]
    parts = {name: device_uj * weight // total for name, weight in rows}
    remainder = {name: device_uj * weight % total for name, weight in rows}
    left = device_uj - sum(parts.values())
    order = sorted(remainder, key=lambda name: (-remainder[name], name is None, name or ""))
    for name in order[:left]:
        parts[name] += 1
    return parts


def attribute(
    readings: Sequence[Reading], machine: Machine, usages: Mapping[str, Usage]
) -> dict[str | None, list[Reading]]:
    """Each reading shared out among the runs, the rest under None; every device's parts add up to its reading.

    - CPU: a run's share is its CPU time ÷ the CPU time that the machine had. That is its part of the busy time times
      the busy part of the energy (Kepler's active power by CPU time); what idles belongs to nobody.
    - Memory: its resident bytes ÷ the bytes that the energy is for (a model counts used memory, a counter all of it).
    - GPU: its weight among the runs on that GPU, the whole of it when alone; idle GPUs belong to nobody.
    - Anything else belongs to nobody.
    """
    parts: dict[str | None, list[Reading]] = {name: [] for name in (*usages, None)}
    for reading in readings:
        shares = _shares(reading, machine, usages)
        for name, energy_uj in share_out(reading.energy_uj, shares).items():
            if name is None and shares and not energy_uj and reading.energy_uj:
                continue  # all of it is somebody's
            if name is not None and not shares.get(name):
                continue
            memory = _memory_bytes(reading, name, usages)
            parts[name].append(replace(reading, energy_uj=energy_uj, memory_bytes=memory))
    return {name: part for name, part in parts.items() if part}


def gpu_weights(
    users: Mapping[str, frozenset[int]], trees: Mapping[str, frozenset[int]], *, blind: bool
) -> dict[str, dict[str, float]]:
    """Each run's weight on each GPU: by run, then device, from the process ids on the GPUs and in the runs' trees.

    A run weighs as many as it has of the processes on the GPU; processes of nobody weigh nothing. *blind*: the driver
    numbers processes otherwise than we do (a container); then a GPU on which no process is known goes to the run, if
    there is one only: a container sees the GPUs that were given to it.

    >>> gpu_weights({"gpu:0": frozenset({7, 8, 9})}, {"a": frozenset({7, 8}), "b": frozenset({9})}, blind=False)
    {'a': {'gpu:0': 2.0}, 'b': {'gpu:0': 1.0}}
    """
    weights: dict[str, dict[str, float]] = {run_id: {} for run_id in trees}
    for device, pids in users.items():
        found = {run_id: float(len(pids & tree)) for run_id, tree in trees.items() if pids & tree}
        if not found and blind and len(trees) == 1:
            found = dict.fromkeys(trees, 1.0)
        for run_id, weight in found.items():
            weights[run_id][device] = weight
    return weights


def _whole(share: float) -> int:
    if not math.isfinite(share) or share <= 0.0:
        return 0
    return round(min(share, 1.0) * _SCALE)


def _shares(reading: Reading, machine: Machine, usages: Mapping[str, Usage]) -> dict[str, float]:
    if reading.kind == DeviceKind.CPU:
        had = max(machine.cpu_capacity_us, sum(u.cpu_time_us for u in usages.values()))
        return _ratios(((name, u.cpu_time_us) for name, u in usages.items()), had)
    if reading.kind == DeviceKind.MEMORY:
        model = reading.method == Method.MODEL
        had = machine.memory_used_bytes if model else machine.memory_total_bytes
        return _ratios(((name, u.memory_bytes) for name, u in usages.items()), had)
    if reading.kind == DeviceKind.GPU:
        weights = [(name, u.gpu_weights.get(reading.device, 0.0)) for name, u in usages.items()]
        return _ratios(weights, sum(weight for _, weight in weights))
    return {}


def _ratios(parts: Iterable[tuple[str, float]], whole: float) -> dict[str, float]:
    if whole <= 0:
        return {}
    return {name: part / whole for name, part in parts if part > 0}


def _memory_bytes(reading: Reading, name: str | None, usages: Mapping[str, Usage]) -> int:
    """A run's own resident bytes on memory devices; the device's figure elsewhere, of which nobody has a part."""
    if reading.kind != DeviceKind.MEMORY or reading.memory_bytes < 0:
        return reading.memory_bytes
    if name is not None:
        return usages[name].memory_bytes
    return max(0, reading.memory_bytes - sum(u.memory_bytes for u in usages.values()))
