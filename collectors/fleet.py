"""The records of a simulated fleet: hosts, trainings that follow each other, samples and events. Pure and seeded."""

import hashlib
import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kappawatt.errors import SettingsError
from kappawatt.units import US_PER_S
from kappawatt.wire.codes import DeviceKind, Method

from . import training_curves as curves

Record = dict[str, Any]
GPU_LIMIT_W, CPU_TDP_W, MEMORY_W = 700.0, 350.0, 90.0
GPU_MODEL, CPU_MODEL = "NVIDIA H200 (simulated)", "Intel Xeon Platinum 8480+ (simulated)"
GPU_BYTES, MEMORY_BYTES = 141_000_000_000, 1_024_000_000_000
HEARTBEAT_US = 20 * US_PER_S
SITES = (
    ("DE", 1.20, 0.3),
    ("FR", 1.25, 0.2),
    ("SE-SE1", 1.07, 0.1),
    ("US-CAL-CISO", 1.15, 0.6),
    ("IN-SO", 1.45, 1.1),
    ("PL", 1.35, 0.4),
)
"""Zone, PUE and WUE (L/kWh) of the sites; the runs take them in turn."""
PEOPLE = (("ada", "research"), ("grace", "research"), ("linus", "platform"), ("katherine", "science"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSettings:
    """The fleet. Times in seconds, instants in µs UTC; `duration_s` infinite: for ever."""

    start_us: int
    duration_s: float = 3_600.0
    hosts: int = 6
    runs: int = 3
    """Trainings at a time; each has its part of the hosts and is followed by another."""
    gpus: int = 8
    period_s: float = 1.0
    seed: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= self.hosts:
            raise SettingsError(
                f"{self.runs} runs on {self.hosts} hosts were asked for; each run needs a host of its own"
            )


@dataclass(slots=True)
class _Host:
    """One host and the dice that only it rolls, so that its records do not depend on the others."""

    name: str
    zone: str
    collector_id: str
    rng: random.Random
    skew: list[float]
    """Each GPU's own efficiency, about 1."""
    seq: int = 0


@dataclass(slots=True)
class _Slot:
    """A group of hosts that train together, one run after the other."""

    number: int
    hosts: list[_Host]
    site: tuple[str, float, float]


def generate(settings: SimulateSettings) -> Iterator[tuple[str, Record]]:
    """Topic and record by record, in the order of their time (samples by end, events by instant)."""
    slots = [_slot(settings, number) for number in range(settings.runs)]
    period_us = round(settings.period_s * US_PER_S)
    streams = [_ticks(settings, slot, host, period_us) for slot in slots for host in slot.hosts]
    streams += [_events(settings, slot) for slot in slots]
    for _, _, topic, record in heapq.merge(*streams, key=lambda item: item[:2]):
        yield topic, record


_Stream = Iterator[tuple[int, str, str, Record]]
"""Instant in µs, tie-breaker, topic, record."""


def _slot(settings: SimulateSettings, number: int) -> _Slot:
    hosts = [_host(settings, i, number) for i in range(number, settings.hosts, settings.runs)]
    return _Slot(number, hosts, SITES[number % len(SITES)])


def _host(settings: SimulateSettings, index: int, slot: int) -> _Host:
    name = f"sim-{index:03d}"
    rng = random.Random(f"{settings.seed}/{name}")
    return _Host(
        name=name,
        zone=SITES[slot % len(SITES)][0],
        collector_id=_digest(settings, name),
        rng=rng,
        skew=[rng.uniform(0.96, 1.04) for _ in range(settings.gpus)],
    )


def _begin(settings: SimulateSettings, slot: int, count: int, not_before_us: int) -> tuple[curves.Training, str]:
    rng = random.Random(f"{settings.seed}/{slot}/{count}")
    pause_s = rng.uniform(5, 60) * (count + slot * 0.5)  # the first begins at once, the others one after the other
    run = curves.training(rng, not_before_us + round(min(pause_s, 240) * US_PER_S))
    return run, f"sim-{run.model.name}-{_digest(settings, f'{slot}/{count}')[:8]}"


def _runs(settings: SimulateSettings, slot: int) -> Iterator[tuple[curves.Training, str]]:
    """The trainings of a slot, one after the other, for ever."""
    count, at_us = 0, settings.start_us
    while True:
        run, run_id = _begin(settings, slot, count, at_us)
        yield run, run_id
        count, at_us = count + 1, run.end_us


def _digest(settings: SimulateSettings, what: str) -> str:
    return hashlib.blake2b(f"{settings.seed}/{settings.start_us}/{what}".encode(), digest_size=8).hexdigest()


def _end_us(settings: SimulateSettings) -> float:
    return settings.start_us + settings.duration_s * US_PER_S


def _ticks(settings: SimulateSettings, slot: _Slot, host: _Host, period_us: int) -> _Stream:
    """A host's samples: the run's and nobody's."""
    runs = _runs(settings, slot.number)
    run, run_id = next(runs)
    start_us, last_us = settings.start_us + host.rng.randrange(period_us), _end_us(settings)
    while start_us + period_us <= last_us:
        end_us = start_us + period_us
        if start_us >= run.end_us:
            run, run_id = next(runs)
        inside = run.start_us <= start_us and end_us <= run.end_us
        for owner in (run_id, None) if inside else (None,):
            sample = _sample(settings, host, run if inside else None, owner, start_us, end_us)
            yield end_us, f"{host.name}/{host.seq:012d}", "sample", sample
        start_us = end_us


def _sample(
    settings: SimulateSettings, host: _Host, run: curves.Training | None, owner: str | None, start_us: int, end_us: int
) -> Record:
    at_us, length_us, rng = (start_us + end_us) // 2, end_us - start_us, host.rng
    load_ = curves.cpu_load(rng, run, at_us)
    rows = _run_rows(host, run, load_, at_us) if owner else _idle_rows(settings, host, run, load_, at_us)
    host.seq += 1
    return {
        "collector_id": host.collector_id,
        "seq": host.seq - 1,
        "host": host.name,
        "run_id": owner,
        "zone": host.zone,
        "start": start_us,
        "end": end_us,
        "kind": [kind for kind, *_ in rows],
        "method": [int(Method.SIMULATED)] * len(rows),
        "energy_uj": [round(watts * length_us) for _, _, watts, *_ in rows],
        "device": [device for _, device, *_ in rows],
        "utilization": [round(use, 3) for _, _, _, use, _, _ in rows],
        "temperature_c": [round(celsius, 1) for *_, celsius, _ in rows],
        "memory_bytes": [used for *_, used in rows],
        "flags": ["simulated"],
        "cpu_time_us": round(load_ * 224 * length_us) if owner else -1,
        "disk_read_bytes": round(load_ * 4e8 * length_us / US_PER_S) if owner else -1,
        "disk_write_bytes": 0 if owner else -1,
        "network_rx_bytes": -1,
        "network_tx_bytes": -1,
        "water_ul": 0,
    }


_Row = tuple[int, str, float, float, float, int]
"""Kind, device, watts, utilization 0–1, °C, bytes."""
CPU, GPU, MEMORY = int(DeviceKind.CPU), int(DeviceKind.GPU), int(DeviceKind.MEMORY)


def _run_rows(host: _Host, run: curves.Training | None, load_: float, at_us: int) -> list[_Row]:
    rows: list[_Row] = []
    for i, skew in enumerate(host.skew):
        watts = curves.gpu_power_w(host.rng, run, at_us, GPU_LIMIT_W) * skew
        use = min(1.0, watts / GPU_LIMIT_W * 1.05)
        rows.append((GPU, f"gpu:{i}", watts, use, 30 + 45 * use, round(GPU_BYTES * min(0.9, 0.2 + use))))
    rows += [(CPU, f"cpu:{i}", CPU_TDP_W * 0.9 * load_, load_, 35 + 40 * load_, -1) for i in range(2)]
    rows.append((MEMORY, "memory:0", MEMORY_W * 0.4, 0.4, math.nan, round(MEMORY_BYTES * 0.4)))
    return rows


def _idle_rows(
    settings: SimulateSettings, host: _Host, run: curves.Training | None, load_: float, at_us: int
) -> list[_Row]:
    """What nobody uses: the CPUs' and memory's idle part, and the GPUs while no run has them."""
    rows: list[_Row] = []
    if run is None:
        for i in range(settings.gpus):
            rows.append((GPU, f"gpu:{i}", curves.gpu_power_w(host.rng, None, at_us, GPU_LIMIT_W), 0.0, 31.0, 0))
    rows += [(CPU, f"cpu:{i}", CPU_TDP_W * 0.25, load_, 34 + 40 * load_, -1) for i in range(2)]
    rows.append((MEMORY, "memory:0", MEMORY_W * 0.3, 0.05, math.nan, round(MEMORY_BYTES * 0.05)))
    return rows


def _events(settings: SimulateSettings, slot: _Slot) -> _Stream:
    """A slot's run events, run after run."""
    last_us = _end_us(settings)
    for run, run_id in _runs(settings, slot.number):
        if run.start_us > last_us:
            return
        about = {"run_id": run_id, "host": slot.hosts[0].name, "rank": 0}
        for number, (at_us, type_, fields) in enumerate(_life(settings, slot, run)):
            if at_us > last_us:
                return
            event_id = f"{run_id}-{number:06d}"
            yield at_us, event_id, "run_event", {"event_id": event_id, "type": type_, "at": at_us, **about, **fields}


def _life(settings: SimulateSettings, slot: _Slot, run: curves.Training) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Instant, type and fields of every event of one run, by time."""
    rng = random.Random(f"{settings.seed}/{run.start_us}/events")
    yield run.start_us, "start", _about(settings, slot, run, rng)
    for span in run.spans:
        yield span.start_us, "phase_start", {"phase": span.phase, "epoch": span.epoch or None}
        for at_us in range(span.start_us + HEARTBEAT_US, span.end_us, HEARTBEAT_US):
            yield at_us, "heartbeat", {}
        yield span.end_us, "phase_end", {"phase": span.phase, "epoch": span.epoch or None}
        if span.phase == curves.CHECKPOINT:
            yield span.end_us, "epoch", {"epoch": span.epoch, "metrics": curves.metrics(rng, run, span.epoch)}
    yield run.end_us, "stop", {"status": run.status}


def _about(settings: SimulateSettings, slot: _Slot, run: curves.Training, rng: random.Random) -> dict[str, Any]:
    zone, pue, wue = slot.site
    user, team = rng.choice(PEOPLE)
    gpus = [(f"gpu:{i}", GPU, GPU_MODEL, GPU_LIMIT_W) for i in range(settings.gpus)]
    cpus = [(f"cpu:{i}", CPU, CPU_MODEL, CPU_TDP_W) for i in range(2)]
    expected_kwh = len(slot.hosts) * settings.gpus * GPU_LIMIT_W / 1e3 * run.model.epochs * run.model.epoch_s / 3600
    return {
        "user": user,
        "team": team,
        "project": run.model.project,
        "model": run.model.name,
        "framework": "torch",
        "environment": "simulated",
        "zone": zone,
        "pue": pue,
        "wue_l_per_kwh": wue,
        "hardware": [
            {"device": device, "kind": kind, "model": model, "uuid": None, "tdp_w": watts}
            for device, kind, model, watts in gpus + cpus
        ],
        "budget_energy_uj": round(expected_kwh * rng.choice((0.7, 1.0, 1.3)) * 3.6e12),
        "labels": {"simulated": "true", "name": run.model.name, "hosts": str(len(slot.hosts))},
    }
