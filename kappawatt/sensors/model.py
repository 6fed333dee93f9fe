"""Energy by model, where nothing can be measured: cloud machines, containers, laptops without access."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kappawatt.sensors.host import CpuTimes, Host
from kappawatt.sensors.source import Device, Reading
from kappawatt.wire.codes import DeviceKind, Method

TEADS = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
"""CPU utilization → part of TDP. Teads Engineering, "Estimating AWS EC2 instances power consumption" (2021), mean of
the curves measured there; also the Impact Framework's `teads-curve` pipeline."""

MEMORY_W_PER_GB = 0.392
"""Watts a GB (10^9 bytes) of memory in use. Cloud Carbon Footprint, methodology, "Memory": 0.000392 kWh per GB·h, the
mean of figures by Crucial and Micron."""

W_PER_LOGICAL_CPU = 4.0
"""TDP of one hardware thread of an unknown CPU, W. CodeCarbon, methodology, "CPU": 4 W a thread for unknown models."""

_TDP: tuple[tuple[str, float, int], ...] = (
    # (pattern in the model name, TDP in W, hardware threads); vendors' product pages (Intel ARK, AMD).
    (r"Platinum 8480", 350.0, 112),
    (r"Platinum 8380", 270.0, 80),
    (r"Platinum 8358", 250.0, 64),
    (r"Platinum 8280", 205.0, 56),
    (r"Platinum 8180", 205.0, 56),
    (r"Gold 6338", 205.0, 64),
    (r"Gold 6248", 150.0, 40),
    (r"Gold 6230", 125.0, 40),
    (r"Gold 6148", 150.0, 40),
    (r"E5-2680 v4", 120.0, 28),
    (r"E5-2686 v4", 145.0, 36),
    (r"EPYC 9654", 360.0, 192),
    (r"EPYC 9554", 360.0, 128),
    (r"EPYC 7763", 280.0, 128),
    (r"EPYC 7742", 225.0, 128),
    (r"EPYC 7543", 225.0, 64),
    (r"EPYC 7402", 180.0, 48),
    (r"Threadripper PRO 5995WX", 280.0, 128),
    (r"Threadripper 3970X", 280.0, 64),
    (r"Ryzen 9 7950X", 170.0, 32),
    (r"Ryzen 9 5950X", 105.0, 32),
    (r"Ryzen 7 5800X", 105.0, 16),
    (r"i9-13900K", 125.0, 32),
    (r"i9-12900K", 125.0, 24),
    (r"i9-10900K", 125.0, 20),
    (r"i7-12700H", 45.0, 20),
    (r"i7-9700K", 95.0, 8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tdp:
    """Thermal design power of all CPUs that this machine sees, W, and where the figure is from."""

    tdp_w: float
    origin: str


def guess_tdp(model: str, logical_cpus: int) -> Tdp:
    """TDP by the CPU's model name, for the threads that are visible: a virtual machine gets its part of the chip.

    >>> guess_tdp("AMD EPYC 7763 64-Core Processor", 16).tdp_w
    35.0
    >>> guess_tdp("a chip nobody knows", 16).tdp_w
    64.0
    """
    for pattern, tdp_w, threads in _TDP:
        if re.search(pattern, model):
            return Tdp(tdp_w=tdp_w * logical_cpus / threads, origin=f"{tdp_w:g} W for {threads} threads of {pattern}")
    return Tdp(tdp_w=W_PER_LOGICAL_CPU * logical_cpus, origin=f"{W_PER_LOGICAL_CPU:g} W a thread, the model is unknown")


def teads_factor(utilization: float) -> float:
    """Part of TDP that a CPU draws at *utilization* (0–1), linear between the points of `TEADS`.

    >>> [round(teads_factor(u), 3) for u in (0.0, 0.05, 0.1, 0.5, 1.0)]
    [0.12, 0.22, 0.32, 0.75, 1.02]
    """
    u = min(1.0, max(0.0, utilization))
    for (u0, f0), (u1, f1) in pairwise(TEADS):
        if u <= u1:
            return f0 + (f1 - f0) * (u - u0) / (u1 - u0)
    return TEADS[-1][1]


def cpu_power_w(utilization: float, tdp_w: float) -> float:
    """Power of the CPUs, W; half to twice the truth (published models differ by 3.5 times)."""
    return teads_factor(utilization) * tdp_w


def memory_power_w(used_bytes: int) -> float:
    """Power of the memory in use, W.

    >>> memory_power_w(10_000_000_000)
    3.92
    """
    return used_bytes / 1e9 * MEMORY_W_PER_GB


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name as the kernel or Python gives it; empty if neither does."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return found.group(1).strip()
    import platform

    return platform.processor()


class CpuModel:
    """The CPUs by the Teads curve over the busy part of the interval; one device, `cpu:0`."""

    name = "model.teads"

    def __init__(self, host: Host, tdp_w: float, model: str = "") -> None:
        self._host = host
        self._device = Device(name="cpu:0", kind=DeviceKind.CPU, model=model, tdp_w=tdp_w)
        self._tdp_w = tdp_w
        self._utilization = 0.0
        self._before: tuple[int, CpuTimes] | None = None

    @property
    def missed(self) -> Mapping[str, str]:
        """Never any: a model always answers."""
        return {}

    def devices(self) -> list[Device]:
        """The one device."""
        return [self._device]

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """Modelled energy since the last call."""
        now = self._host.cpu_times()
        before, self._before = self._before, (now_monotonic_us, now)
        if before is None:
            return []
        then_us, then = before
        had_us = now.capacity_us - then.capacity_us
        if had_us > 0:  # the kernel counts in ticks of 10 ms; over less than one the last utilization still holds
            self._utilization = min(1.0, max(0.0, (now.busy_us - then.busy_us) / had_us))
        return [
            Reading(
                device=self._device.name,
                kind=DeviceKind.CPU,
                method=Method.MODEL,
                energy_uj=round(cpu_power_w(self._utilization, self._tdp_w) * (now_monotonic_us - then_us)),
                utilization=self._utilization,
            )
        ]


class MemoryModel:
    """The memory in use at a fixed power a GB; one device, `memory:0`."""

    name = "model.memory"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._device = Device(name="memory:0", kind=DeviceKind.MEMORY)
        self._before: tuple[int, int] | None = None

    @property
    def missed(self) -> Mapping[str, str]:
        """Never any: a model always answers."""
        return {}

    def devices(self) -> list[Device]:
        """The one device."""
        return [self._device]

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """Modelled energy since the last call, by the trapezoid of the memory in use at both ends."""
        memory = self._host.memory()
        before, self._before = self._before, (now_monotonic_us, memory.used_bytes)
        if before is None:
            return []
        then_us, then_bytes = before
        power_w = (memory_power_w(then_bytes) + memory_power_w(memory.used_bytes)) / 2
        return [
            Reading(
                device=self._device.name,
                kind=DeviceKind.MEMORY,
                method=Method.MODEL,
                energy_uj=round(power_w * (now_monotonic_us - then_us)),
                utilization=memory.used_bytes / memory.total_bytes if memory.total_bytes else math.nan,
                memory_bytes=memory.used_bytes,
            )
        ]


class Constant:
    """A device of which nothing but a usual power is known."""

    name = "constant"

    def __init__(self, device: Device, power_w: float) -> None:
        self._device = device
        self._power_w = power_w
        self._then_us: int | None = None

    @property
    def missed(self) -> Mapping[str, str]:
        """Never any: a constant always answers."""
        return {}

    def devices(self) -> list[Device]:
        """The one device."""
        return [self._device]

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """The constant power over the time since the last call."""
        then_us, self._then_us = self._then_us, now_monotonic_us
        if then_us is None:
            return []
        energy_uj = round(self._power_w * (now_monotonic_us - then_us))
        kind, name = self._device.kind, self._device.name
        return [Reading(device=name, kind=kind, method=Method.CONSTANT, energy_uj=energy_uj)]
