"""Doubles for tests of what measures: clocks moved by hand, a scripted source, an NVML that answers from a table."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from kappawatt.sensors.source import Device, Reading
from kappawatt.units import US_PER_S
from kappawatt.wire.codes import DeviceKind, Method


class ManualClock:
    """A wall clock and a monotonic one (µs) that move when told to; `step` moves the wall clock alone."""

    def __init__(self, wall_us: int = 1_700_000_000 * US_PER_S) -> None:
        self._wall_us = wall_us
        self._monotonic_us = 0

    def wall_us(self) -> int:
        """µs UTC."""
        return self._wall_us

    def monotonic_us(self) -> int:
        """µs since this clock was made."""
        return self._monotonic_us

    def go(self, us: int) -> None:
        """Let time pass."""
        self._wall_us += us
        self._monotonic_us += us

    def step(self, us: int) -> None:
        """Set the wall clock."""
        self._wall_us += us


class ScriptedSource:
    """A source that answers line by line: µJ by device, a flag in place of a reading, or an error that is raised."""

    name = "scripted"

    def __init__(self, *script: dict[str, int | str] | Exception) -> None:
        self._script = list(script)
        self._missed: dict[str, str] = {}
        names = sorted({name for line in script if isinstance(line, dict) for name in line})
        self._devices = [Device(name=name, kind=_kind(name)) for name in names]

    @property
    def missed(self) -> dict[str, str]:
        """What the last line flagged."""
        return self._missed

    def devices(self) -> list[Device]:
        """All devices of the script."""
        return self._devices

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """The next line."""
        line = self._script.pop(0)
        if isinstance(line, Exception):
            raise line
        self._missed = {name: flag for name, flag in line.items() if isinstance(flag, str)}
        energies = {name: uj for name, uj in line.items() if isinstance(uj, int)}
        return [
            Reading(device=name, kind=_kind(name), method=Method.COUNTER, energy_uj=uj) for name, uj in energies.items()
        ]


def _kind(device: str) -> DeviceKind:
    return {"cpu": DeviceKind.CPU, "gpu": DeviceKind.GPU, "memory": DeviceKind.MEMORY}[device.partition(":")[0]]


class NvmlDoubleError(Exception):
    """As `pynvml.NVMLError`: the code in `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class GpuDouble:
    """State of one GPU: what it answers; a call named in `fails` gives that code instead."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.energy_mj = 1_000_000
        self.power_mw = 300_000
        self.limit_mw = 700_000
        self.mig: int | None = None
        self.pids: list[int] = []
        self.fails: dict[str, int] = {}


class NvmlDouble:
    """The part of `pynvml` that kappawatt calls, over `gpus`; `init_fails` is the code with which it does not begin."""

    NVMLError = NvmlDoubleError

    def __init__(self, count: int = 1, *, init_fails: int | None = None) -> None:
        self.gpus = [GpuDouble(index) for index in range(count)]
        self.init_fails = init_fails

    def __getattr__(self, call: str) -> Callable[..., Any]:
        if call == "nvmlInit":
            return self._init
        if call == "nvmlShutdown":
            return lambda: None
        if call == "nvmlDeviceGetCount":
            return lambda: len(self.gpus)
        if call == "nvmlDeviceGetHandleByIndex":
            return lambda index: self.gpus[index]
        return lambda gpu, *arguments: self._ask(call.removeprefix("nvmlDeviceGet"), gpu)

    def _init(self) -> None:
        if self.init_fails is not None:
            raise NvmlDoubleError(self.init_fails)

    def _ask(self, what: str, gpu: GpuDouble) -> Any:
        if what in gpu.fails:
            raise NvmlDoubleError(gpu.fails[what])
        if what == "MigMode" and gpu.mig is None:
            raise NvmlDoubleError(3)  # not supported
        return {
            "Name": "NVIDIA H200",
            "UUID": f"GPU-{gpu.index}",
            "EnforcedPowerLimit": gpu.limit_mw,
            "TotalEnergyConsumption": gpu.energy_mj,
            "PowerUsage": gpu.power_mw,
            "UtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "Temperature": 61,
            "MemoryInfo": SimpleNamespace(total=1 << 37, used=1 << 33, free=(1 << 37) - (1 << 33)),
            "MigMode": [gpu.mig, gpu.mig],
            "ComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in gpu.pids],
        }[what]
