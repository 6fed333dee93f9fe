"""From ticks to samples: one host's readings, shared out among the runs on it, as the records of topic `sample`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kappawatt.errors import SourceBusy, SourceGone
from kappawatt.sensors.attribution import Machine, Usage, attribute, gpu_weights
from kappawatt.sensors.host import CpuTimes, Host, Memory, ProcessTree, TreeUsage
from kappawatt.sensors.meter import Meter, Tick, cut
from kappawatt.sensors.nvml import NvmlSource
from kappawatt.sensors.selection import Selection, monotonic_us
from kappawatt.sensors.source import Reading
from kappawatt.units import US_PER_S
from kappawatt.wire.records import Hardware, Sample

PROCESSES_US: Final = 2 * US_PER_S
"""How often the driver is asked who uses which GPU."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the machine and the trees had used at the end of the last tick."""

    cpu: CpuTimes
    memory: Memory
    network: tuple[int, int]
    trees: Mapping[str, TreeUsage]
    began_us: Mapping[str, int]


class Sampler:
    """Samples of one host: each call closes an interval and says which run used what; None is nobody's.

    Every device's energy over the samples of a tick adds up to its reading. A run counts from when it is first
    given; what its processes used before does not, unless they began inside the interval. Not for threads.

    Args:
        selection: What is read.
        host: The machine.
        host_name, zone, collector_id: As in the samples; `seq` counts from 0.
        whole: A run that gets everything, as on a machine that does nothing else; None: by share.
        period_us: Time between calls, for gaps.
    """

    def __init__(
        self,
        selection: Selection,
        host: Host,
        *,
        host_name: str,
        zone: str,
        collector_id: str,
        whole: str | None = None,
        period_us: int = US_PER_S,
    ) -> None:
        self._meter: Meter = selection.meter(period_us=period_us)
        self._nvml: NvmlSource | None = selection.nvml
        self._host = host
        self._host_name, self._zone, self._collector_id = host_name, zone, collector_id
        self._whole = whole
        self._seq = 0
        self._before: _Look | None = None
        self._gpu_pids: dict[str, frozenset[int]] = {}
        self._gpu_pids_us: int | None = None

    def __repr__(self) -> str:
        return f"<Sampler {self._host_name} in {self._zone}, {self._seq} samples; {self._meter!r}>"

    @property
    def seq(self) -> int:
        """How many samples it gave: the next one's number."""
        return self._seq

    def hardware(self) -> tuple[Hardware, ...]:
        """The devices as `run_event.hardware` has them."""
        return tuple(
            Hardware(device=d.name, kind=int(d.kind), model=d.model or None, uuid=d.uuid or None, tdp_w=d.tdp_w)
            for d in self._meter.devices()
        )

    def sample(self, trees: Mapping[str, ProcessTree], *, final: bool = False) -> list[Sample]:
        """The samples since the last call, oldest first; none for the first call (the baseline) and while a device is
        waited for. *trees* are the process trees of the runs now; *final* waits for nothing.
        """
        tick = self._meter.tick(final=final)
        if tick is None and self._before is not None:
            return []
        now_us = monotonic_us()
        look = self._look(trees, now_us)
        before, self._before = self._before, look
        if tick is None or before is None:
            return []
        before = _with_newcomers(before, look, tick.start_us)
        usages = self._usages(trees, before, look, now_us)
        return [each for piece in cut(tick) for each in self._records(piece, tick, before, look, usages)]

    def _look(self, trees: Mapping[str, ProcessTree], now_us: int) -> _Look:
        usages = {}
        for run_id, tree in trees.items():
            usage = self._usage(run_id, tree, now_us)
            if usage is not None:
                usages[run_id] = usage
        began = {run_id: tree.started_us for run_id, tree in trees.items()}
        return _Look(
            cpu=self._host.cpu_times(),
            memory=self._host.memory(),
            network=self._host.network(),
            trees=usages,
            began_us=began,
        )

    def _usage(self, run_id: str, tree: ProcessTree, now_us: int) -> TreeUsage | None:
        try:
            return tree.read(now_us)
        except SourceGone:
            return None
        except SourceBusy:
            return self._before.trees.get(run_id) if self._before else None

    def _usages(self, trees: Mapping[str, ProcessTree], before: _Look, now: _Look, now_us: int) -> dict[str, Usage]:
        weights = self._gpu_weights(trees, now_us)
        return {
            run_id: Usage(
                cpu_time_us=usage.cpu_time_us - before.trees[run_id].cpu_time_us,
                memory_bytes=usage.memory_bytes,
                gpu_weights=weights.get(run_id, {}),
            )
            for run_id, usage in now.trees.items()
        }

    def _gpu_weights(self, trees: Mapping[str, ProcessTree], now_us: int) -> dict[str, dict[str, float]]:
        if self._nvml is None:
            return {}
        if self._gpu_pids_us is None or now_us - self._gpu_pids_us >= PROCESSES_US:
            self._gpu_pids, self._gpu_pids_us = self._nvml.processes(), now_us
        pids = {run_id: tree.pids() for run_id, tree in trees.items()}
        return gpu_weights(self._gpu_pids, pids, blind=self._host.own_process_ids())

    def _records(self, piece: Tick, tick: Tick, before: _Look, now: _Look, usages: Mapping[str, Usage]) -> list[Sample]:
        machine = _machine(before, now)
        if self._whole is None:
            parts = attribute(piece.readings, machine, usages)
        else:
            parts = {self._whole: list(piece.readings)}
        return [
            self._record(piece, tick, run_id, readings, before, now)
            for run_id, readings in sorted(parts.items(), key=lambda part: (part[0] is None, part[0] or ""))
            if readings
        ]

    def _record(
        self, piece: Tick, tick: Tick, run_id: str | None, readings: list[Reading], before: _Look, now: _Look
    ) -> Sample:
        used = now.trees.get(run_id) if run_id is not None else None
        then = before.trees.get(run_id, _NOTHING) if run_id is not None else _NOTHING
        part = _Part(piece.start_us - tick.start_us, piece.end_us - tick.start_us, tick.end_us - tick.start_us)
        self._seq += 1
        whole_host = run_id is None or run_id == self._whole
        return Sample(
            collector_id=self._collector_id,
            seq=self._seq - 1,
            host=self._host_name,
            run_id=run_id,
            zone=self._zone,
            start=piece.start_us,
            end=piece.end_us,
            kind=tuple(int(r.kind) for r in readings),
            method=tuple(int(r.method) for r in readings),
            energy_uj=tuple(r.energy_uj for r in readings),
            device=tuple(r.device for r in readings),
            utilization=tuple(_float32(r.utilization) for r in readings),
            temperature_c=tuple(_float32(r.temperature_c) for r in readings),
            memory_bytes=tuple(r.memory_bytes for r in readings),
            flags=piece.flags,
            cpu_time_us=part.of(then.cpu_time_us, used.cpu_time_us) if used else -1,
            disk_read_bytes=part.of(then.disk_read_bytes, used.disk_read_bytes) if used else -1,
            disk_write_bytes=part.of(then.disk_write_bytes, used.disk_write_bytes) if used else -1,
            # Nobody knows which process a packet was for: the host's traffic goes with what is nobody's, or everything.
            network_rx_bytes=part.of(before.network[0], now.network[0]) if whole_host else -1,
            network_tx_bytes=part.of(before.network[1], now.network[1]) if whole_host else -1,
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The piece [a, b) of an interval of some length, for what grows evenly in it."""

    a: int
    b: int
    length: int

    def of(self, then: int, now: int) -> int:
        """The piece's part of a counter's growth; −1 where it is unknown."""
        if now < 0:
            return -1
        grown = max(0, now - max(0, then))
        return grown * self.b // self.length - grown * self.a // self.length


_NOTHING: Final = TreeUsage(cpu_time_us=0, memory_bytes=0, disk_read_bytes=0, disk_write_bytes=0)


def _with_newcomers(before: _Look, now: _Look, start_us: int) -> _Look:
    """The last look with the runs that are new since: at zero if their root began inside the interval, else as now."""
    new = {
        run_id: _NOTHING if now.began_us[run_id] >= start_us else usage
        for run_id, usage in now.trees.items()
        if run_id not in before.trees
    }
    return replace(before, trees={**before.trees, **new})


def _machine(before: _Look, now: _Look) -> Machine:
    return Machine(
        cpu_capacity_us=now.cpu.capacity_us - before.cpu.capacity_us,
        cpu_busy_us=now.cpu.busy_us - before.cpu.busy_us,
        memory_used_bytes=now.memory.used_bytes,
        memory_total_bytes=now.memory.total_bytes,
    )


def _float32(value: float) -> float:
    """Fractions as short as the schema's float; NaN stays."""
    return value if math.isnan(value) else round(value, 4)


def boot_host_name(given: str | None = None) -> str:
    """The kernel's name of this host; in a container, whose own it would be, the one that is *given*."""
    if given:
        return given
    try:
        return Path("/proc/sys/kernel/hostname").read_text().strip()
    except OSError:
        import platform

        return platform.node()
