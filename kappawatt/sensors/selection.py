"""Which source measures which device: energy counter, else power, else a model, else a constant."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kappawatt.errors import KappawattError, SourceBroken
from kappawatt.sensors.host import Host
from kappawatt.sensors.meter import Meter, Tick, cut
from kappawatt.sensors.model import Constant, CpuModel, MemoryModel, Tdp, cpu_model, guess_tdp
from kappawatt.sensors.nvml import NvmlSource
from kappawatt.sensors.rapl import POWERCAP, RaplSource
from kappawatt.sensors.source import Device, Source
from kappawatt.wire.codes import DeviceKind, Method

__all__ = ["Choice", "Meter", "Selection", "Tick", "choose", "cut", "select"]

_log = logging.getLogger(__name__)

IDLE_GUESS = 0.5
"""Part of the power limit taken for a GPU without energy and power readings (CodeCarbon's constant mode: TDP / 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How one device is measured, why not better, and what would mend that (empty: nothing needs to).

    `method` UNKNOWN: not measured at all.
    """

    device: str
    kind: DeviceKind
    method: Method
    source: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        how = self.method.name.lower() if self.method else "not measured"
        return f"{self.device}: {how} ({self.source}); {self.reason}" + (f"; fix: {self.fix}" if self.fix else "")


@dataclass(slots=True)
class Selection:
    """The sources to read, each restricted to the devices that it was chosen for, and the choices in words."""

    choices: list[Choice] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    nvml: NvmlSource | None = None

    def devices(self) -> list[Device]:
        """All devices, measured or modelled, in the order of the sources."""
        return [device for source in self.sources for device in source.devices()]

    def meter(self, *, period_us: int = 1_000_000) -> Meter:
        """A meter over the sources by this machine's clocks."""
        return Meter(self.sources, wall_us, monotonic_us, period_us=period_us)


def wall_us() -> int:
    """The wall clock, µs UTC."""
    return time.time_ns() // 1_000


def monotonic_us() -> int:
    """The monotonic clock, µs since some instant."""
    return time.monotonic_ns() // 1_000


def choose(
    powercap: Path = POWERCAP,
    *,
    host: Host | None = None,
    nvml: Any = None,
    cpu_tdp_w: float | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> list[Choice]:
    """The choices alone, with every counter tried (half a second at most): what `doctor` prints."""
    return select(powercap, host=host, nvml=nvml, cpu_tdp_w=cpu_tdp_w, wait=wait, try_gpus=True).choices


def select(
    powercap: Path = POWERCAP,
    *,
    host: Host | None = None,
    nvml: Any = None,
    cpu_tdp_w: float | None = None,
    wait: Callable[[float], None] = time.sleep,
    try_gpus: bool = False,
) -> Selection:
    """The best source of every device; nothing raises, what fails becomes a choice with its fix.

    Args:
        powercap: The kernel's tree of RAPL counters.
        host: The machine; None: this one.
        nvml: The module `pynvml` or one that answers like it; None: the module.
        cpu_tdp_w: TDP of all CPUs together for the model, W (`KAPPAWATT_CPU_TDP_W`); None: by the model's name.
        wait: Sleeps while counters are watched, seconds.
        try_gpus: Watch GPU counters too before they are chosen; else the loop demotes a dead one by itself.
    """
    host = host or Host()
    found = Selection()
    _select_cpus(found, powercap, host, cpu_tdp_w, wait)
    _select_gpus(found, nvml, wait if try_gpus else None)
    for choice in found.choices:
        _log.info("%s", choice)
    return found


def _select_cpus(
    found: Selection, powercap: Path, host: Host, tdp_w: float | None, wait: Callable[[float], None]
) -> None:
    reason, fix = "", ""
    counted: frozenset[str] = frozenset()
    devices: Sequence[Device] = ()
    try:
        rapl = RaplSource(powercap)
        devices, counted = rapl.devices(), rapl.advancing(wait)
    except KappawattError as error:
        reason = str(error)
        fix = _remedy(reason) if isinstance(error, SourceBroken) else ""
    # A socket that counts and one that does not cannot be told apart in the model: all packages, or the model.
    packages = frozenset(device.name for device in devices if device.kind == DeviceKind.CPU)
    if packages and packages <= counted:
        rapl.keep(counted)
        found.sources.append(rapl)
        found.choices += [_counter(device, rapl.name) for device in rapl.devices()]
    else:
        if devices:
            dead = ", ".join(sorted(packages - counted))
            reason = f"the counter of {dead} below {powercap} stands still (a virtual machine?)"
        _model_cpus(found, host, tdp_w, reason, fix)
        counted = frozenset()
    if not any(device in counted for device in (d.name for d in devices if d.kind == DeviceKind.MEMORY)):
        found.sources.append(MemoryModel(host))
        found.choices.append(
            Choice(
                device="memory:0",
                kind=DeviceKind.MEMORY,
                method=Method.MODEL,
                source=MemoryModel.name,
                reason="no DRAM counter; 0.392 W a GB in use",
                fix=fix,
            )
        )


def _model_cpus(found: Selection, host: Host, tdp_w: float | None, reason: str, fix: str) -> None:
    model, cpus = cpu_model(), host.cpu_count()
    tdp = Tdp(tdp_w=tdp_w, origin="KAPPAWATT_CPU_TDP_W") if tdp_w else guess_tdp(model, cpus)
    found.sources.append(CpuModel(host, tdp.tdp_w, model))
    found.choices.append(
        Choice(
            device="cpu:0",
            kind=DeviceKind.CPU,
            method=Method.MODEL,
            source=CpuModel.name,
            reason=f"{reason}; Teads curve, TDP {tdp.tdp_w:g} W for {cpus} logical CPUs ({tdp.origin})",
            fix=fix or ("" if tdp_w else "set KAPPAWATT_CPU_TDP_W if you know the TDP of what this machine sees"),
        )
    )


def _select_gpus(found: Selection, library: Any, wait: Callable[[float], None] | None) -> None:
    try:
        nvml = NvmlSource(library)
        going = nvml.advancing(wait) if wait else None
    except KappawattError as error:
        fix = _remedy(str(error)) if isinstance(error, SourceBroken) else ""
        found.choices.append(
            Choice(device="gpu", kind=DeviceKind.GPU, method=Method.UNKNOWN, source="nvml", reason=str(error), fix=fix)
        )
        return
    readable: set[str] = set()
    for device in nvml.devices():
        if nvml.readable(device.name):
            _guess_gpu(found, device, nvml.readable(device.name))
            continue
        readable.add(device.name)
        found.choices.append(_gpu(nvml, device, going))
    nvml.keep(frozenset(readable))
    if readable:
        found.sources.append(nvml)
        found.nvml = nvml


def _gpu(nvml: NvmlSource, device: Device, going: frozenset[str] | None) -> Choice:
    method = nvml.method(device.name)
    reason = "energy counter" if method == Method.COUNTER else "no energy counter; power, trapezoid"
    if method == Method.COUNTER and going is not None:
        if device.name in going:
            reason = "energy counter, seen to go on"
        else:
            method, reason = Method.POWER, "the energy counter stood still for half a second; power once 2 s confirm it"
    if nvml.mig(device.name):
        reason += "; MIG is on: energy is the whole board's, NVML has none by instance"
    return Choice(device=device.name, kind=device.kind, method=method, source=nvml.name, reason=reason)


def _guess_gpu(found: Selection, device: Device, reason: str) -> None:
    if device.tdp_w is None:
        found.choices.append(
            Choice(device=device.name, kind=device.kind, method=Method.UNKNOWN, source="nvml", reason=reason)
        )
        return
    power_w = device.tdp_w * IDLE_GUESS
    found.sources.append(Constant(device, power_w))
    found.choices.append(
        Choice(
            device=device.name,
            kind=device.kind,
            method=Method.CONSTANT,
            source=Constant.name,
            reason=f"{reason}; {power_w:g} W, half its power limit",
        )
    )


def _counter(device: Device, source: str) -> Choice:
    return Choice(
        device=device.name,
        kind=device.kind,
        method=Method.COUNTER,
        source=source,
        reason="energy counter, seen to go on",
    )


def _remedy(message: str) -> str:
    """What to do, which our errors say after the semicolon."""
    return message.partition("; ")[2]
