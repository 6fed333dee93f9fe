"""NVIDIA GPUs by NVML (`pynvml`, imported here only): energy counter, else power, by device."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kappawatt.errors import KappawattError, SourceBroken, SourceBusy, SourceGone
from kappawatt.sensors.counter import Moved, step
from kappawatt.sensors.source import COUNTER_RESET, GAP, Device, Reading
from kappawatt.units import US_PER_S
from kappawatt.wire.codes import DeviceKind, Method

FROZEN_US = 2 * US_PER_S
"""A GPU draws power as long as it has any; its counter is refreshed every 20–100 ms. One that stands still for so long
is not counting, and power is integrated instead (frozen counters: amdsmi#38, and the self-test that Zeus does)."""

_NOT_SUPPORTED = 3

_ERRORS: Mapping[int, tuple[type[KappawattError], str]] = {
    # NVML return code → what the loop should do, and what a person should.
    1: (SourceBroken, "NVML was not initialised; this is a bug of kappawatt"),
    _NOT_SUPPORTED: (SourceGone, "the GPU or its driver does not offer it"),
    4: (SourceBroken, "run the collector as root, or give the container the GPU with the utility capability"),
    6: (SourceGone, "there is no such GPU any more"),
    9: (SourceGone, "the NVIDIA driver is not loaded: `nvidia-smi` must work first"),
    10: (SourceBusy, "the driver took too long"),
    12: (SourceGone, "there is no NVIDIA driver library on this machine"),
    13: (SourceBroken, "the driver is too old for this call: update it"),
    15: (SourceGone, "the GPU has fallen off the bus: see `dmesg`, then reset or reboot"),
    16: (SourceBroken, "the GPU needs a reset: `nvidia-smi --gpu-reset`"),
    17: (SourceBroken, "the operating system blocks the driver: check cgroup devices of the container"),
    18: (SourceBroken, "driver and library differ in version: reboot, or restart the container"),
    19: (SourceBusy, "the GPU is in use by an operation that excludes others"),
    20: (SourceBusy, "the driver has no memory left"),
    999: (SourceBusy, "the driver gave no reason"),
}


@dataclass(slots=True)
class _Gpu:
    """One GPU and what was last seen of it: counter in mJ, power in mW, and when (µs, monotonic)."""

    handle: Any
    device: Device
    by_counter: bool
    counter_mj: int | None = None
    power_mw: int | None = None
    at_us: int = 0
    moved_us: int = 0
    integral_uj: int = 0
    late: bool = False
    without: set[str] = field(default_factory=set)


class NvmlSource:
    """All GPUs that the driver shows, whatever `CUDA_VISIBLE_DEVICES` says: named `gpu:N` by NVML's index, with UUID.

    Per GPU the energy counter is used as long as it goes on, else power is integrated by the trapezoid rule over real
    timestamps. In MIG mode energy exists for the whole board only, and the whole board is what is read.

    Args:
        library: The module `pynvml`, or one that answers like it.

    Raises:
        SourceGone: There is no library, driver or GPU.
        SourceBroken: There is one and it does not work; the message says how to mend it.
    """

    name = "nvml"

    def __init__(self, library: Any = None) -> None:
        if library is None:
            import pynvml

            library = pynvml
        self._nvml: Any = library
        self._missed: dict[str, str] = {}
        self._call("nvmlInit")
        count = self._call("nvmlDeviceGetCount")
        if not count:
            self._call("nvmlShutdown")
            raise SourceGone("NVML was asked for GPUs and has none; nothing to do")
        self._gpus = [self._open(index) for index in range(count)]

    def __repr__(self) -> str:
        modes = ", ".join(f"{g.device.name} by {'counter' if g.by_counter else 'power'}" for g in self._gpus)
        return f"<NvmlSource {modes}>"

    @property
    def missed(self) -> Mapping[str, str]:
        """See `Source.missed`."""
        return self._missed

    def devices(self) -> list[Device]:
        """The GPUs; `tdp_w` is the enforced power limit."""
        return [gpu.device for gpu in self._gpus]

    def method(self, device: str) -> Method:
        """How this GPU is measured now."""
        return Method.COUNTER if self._find(device).by_counter else Method.POWER

    def readable(self, device: str) -> str:
        """Why this GPU has neither a counter nor a power reading; empty if it has one."""
        gpu = self._find(device)
        try:
            self._call(
                "nvmlDeviceGetTotalEnergyConsumption" if gpu.by_counter else "nvmlDeviceGetPowerUsage", gpu.handle
            )
        except KappawattError as error:
            return str(error)
        return ""

    def mig(self, device: str) -> bool:
        """Whether the GPU is cut into MIG instances now."""
        current_and_pending = self._optional(self._find(device), "nvmlDeviceGetMigMode")
        return bool(current_and_pending and current_and_pending[0])

    def advancing(self, wait: Callable[[float], None], *, tries: int = 25, pause_s: float = 0.02) -> frozenset[str]:
        """The GPUs whose counter goes on within tries · pause (0.5 s); for `doctor`, the loop finds out by itself."""
        waiting = [gpu for gpu in self._gpus if gpu.by_counter]
        first = [self._call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle) for gpu in waiting]
        found: set[str] = set()
        for _ in range(tries if waiting else 0):
            wait(pause_s)
            for gpu, before in zip(waiting, first, strict=True):
                if self._call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle) != before:
                    found.add(gpu.device.name)
            if len(found) == len(waiting):
                break
        return frozenset(found)

    def keep(self, devices: frozenset[str]) -> None:
        """Read only these GPUs from now on."""
        self._gpus = [gpu for gpu in self._gpus if gpu.device.name in devices]

    def processes(self) -> dict[str, frozenset[int]]:
        """Ids of the compute processes on each GPU, as the driver numbers them: the host's ids, in a container too."""
        found = {}
        for gpu in self._gpus:
            running = self._optional(gpu, "nvmlDeviceGetComputeRunningProcesses") or []
            found[gpu.device.name] = frozenset(int(process.pid) for process in running)
        return found

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """Energy since the last good reading of each GPU, and its state now."""
        self._missed = {}
        readings = []
        for gpu in tuple(self._gpus):
            try:
                reading = self._read(gpu, now_monotonic_us)
            except SourceBusy:
                self._missed[gpu.device.name] = GAP  # counter and power before are kept: the next reading covers it
                gpu.late = True
                continue
            except SourceGone:
                self._gpus.remove(gpu)
                if not self._gpus:
                    raise
                continue
            if reading is not None:
                readings.append(reading)
        return readings

    def close(self) -> None:
        """Give the library back; nothing may be read afterwards."""
        self._gpus = []
        self._call("nvmlShutdown")

    def _open(self, index: int) -> _Gpu:
        handle = self._call("nvmlDeviceGetHandleByIndex", index)
        probe = _Gpu(handle=handle, device=Device(name=f"gpu:{index}", kind=DeviceKind.GPU), by_counter=False)
        limit_mw = self._optional(probe, "nvmlDeviceGetEnforcedPowerLimit")
        device = Device(
            name=f"gpu:{index}",
            kind=DeviceKind.GPU,
            model=_str(self._optional(probe, "nvmlDeviceGetName")),
            uuid=_str(self._optional(probe, "nvmlDeviceGetUUID")),
            tdp_w=limit_mw / 1_000 if limit_mw else None,
        )
        has_counter = self._optional(probe, "nvmlDeviceGetTotalEnergyConsumption") is not None
        return _Gpu(handle=handle, device=device, by_counter=has_counter)

    def _find(self, device: str) -> _Gpu:
        return next(gpu for gpu in self._gpus if gpu.device.name == device)

    def _read(self, gpu: _Gpu, now_us: int) -> Reading | None:
        energy = self._by_counter(gpu, now_us) if gpu.by_counter else self._by_power(gpu, now_us)
        if energy is None:
            return None
        energy_uj, late = energy
        rates = self._optional(gpu, "nvmlDeviceGetUtilizationRates")
        celsius = self._optional(gpu, "nvmlDeviceGetTemperature", 0)  # 0: the GPU's own sensor
        memory = self._optional(gpu, "nvmlDeviceGetMemoryInfo")
        return Reading(
            device=gpu.device.name,
            kind=DeviceKind.GPU,
            method=Method.COUNTER if gpu.by_counter else Method.POWER,
            energy_uj=energy_uj,
            utilization=math.nan if rates is None else rates.gpu / 100,
            temperature_c=math.nan if celsius is None else float(celsius),
            memory_bytes=-1 if memory is None else int(memory.used),
            flags=(GAP,) if late else (),
        )

    def _by_counter(self, gpu: _Gpu, now_us: int) -> tuple[int, bool] | None:
        """Energy in µJ and whether it covers more than the last interval; None for a baseline."""
        counter_mj = self._call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle)
        found = step(gpu.counter_mj, counter_mj, None)
        if not isinstance(found, Moved):
            if gpu.counter_mj is not None:
                self._missed[gpu.device.name] = COUNTER_RESET  # the driver was loaded anew
            gpu.counter_mj, gpu.at_us, gpu.moved_us = counter_mj, now_us, now_us
            return None
        if not found.uj and gpu.at_us < now_us:
            self._watch_power(gpu, now_us)
            if now_us - gpu.moved_us < FROZEN_US:
                self._missed[gpu.device.name] = GAP  # perhaps only slow: its next step brings the energy
                return None
            gpu.by_counter = False
            energy_uj, gpu.integral_uj, late, gpu.late = gpu.integral_uj, 0, gpu.late, False
            return energy_uj, late
        late, gpu.late = gpu.late, False
        gpu.counter_mj, gpu.at_us, gpu.moved_us = counter_mj, now_us, now_us
        gpu.power_mw, gpu.integral_uj = None, 0
        return found.uj * 1_000, late

    def _watch_power(self, gpu: _Gpu, now_us: int) -> None:
        """Integrate power beside a counter that stands still, in case it turns out to be dead."""
        power_mw = self._optional(gpu, "nvmlDeviceGetPowerUsage")
        if power_mw is None:
            return
        before_mw = power_mw if gpu.power_mw is None else gpu.power_mw
        gpu.integral_uj += (before_mw + power_mw) * (now_us - gpu.at_us) // 2_000
        gpu.power_mw, gpu.at_us = power_mw, now_us

    def _by_power(self, gpu: _Gpu, now_us: int) -> tuple[int, bool] | None:
        power_mw = self._call("nvmlDeviceGetPowerUsage", gpu.handle)
        before_mw, then_us, late = gpu.power_mw, gpu.at_us, gpu.late
        gpu.power_mw, gpu.at_us, gpu.late = power_mw, now_us, False
        if before_mw is None:
            return None
        return (before_mw + power_mw) * (now_us - then_us) // 2_000, late  # mean mW times µs are nJ

    def _optional(self, gpu: _Gpu, call: str, *arguments: Any) -> Any:
        """What the call gives; None where the GPU does not offer it (not asked again) or cannot say now."""
        if call in gpu.without:
            return None
        try:
            return self._call(call, gpu.handle, *arguments)
        except SourceBusy:
            return None
        except KappawattError:
            gpu.without.add(call)
            return None

    def _call(self, call: str, *arguments: Any) -> Any:
        """The one place where NVML's errors become ours."""
        try:
            return getattr(self._nvml, call)(*arguments)
        except self._nvml.NVMLError as error:
            code = getattr(error, "value", 999)
            kind, remedy = _ERRORS.get(code, (SourceBroken, "see `nvidia-smi`"))
            raise kind(f"NVML was asked for {call[4:]} and answered {error} (code {code}); {remedy}") from error


def _str(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value or ""
