"""The ticks of one host: intervals that touch, devices of every kind, energy shared out among the runs on it."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.oracle.cells import as_float32
from tests.oracle.model import Record

Shares = tuple[tuple[str | None, float], ...]
Plan = tuple[tuple[int, Shares], ...]
"""From tick n on: these runs (None: idle), each with its share of every device's energy."""

ODD = [("nic:0", 4, 2), ("disk:0", 5, 5), ("psu:0", 0, 3), ("cpu:9", 1, 6), ("gpu:9", 2, 9), ("thing:0", 17, 0)]
"""Devices of rare kinds and methods, unknown codes among them: name, kind, method."""

POWER_W = {1: 90.0, 2: 380.0, 3: 22.0}

POOL = 48
"""How many different ticks' worth of utilization, temperature and memory a host has; they repeat."""


@dataclass(slots=True, kw_only=True)
class Host:
    """One host and what happens on it; `samples()` may be read once."""

    name: str
    zone: str
    gpus: int
    odd_devices: bool
    measures_water: bool
    ticks: int
    period_us: int
    jitter_us: int
    first_us: int
    holes: float
    restart_at: int | None
    plan: Plan
    rng: random.Random

    def devices(self) -> list[tuple[str, int, int]]:
        """Name, kind and method of each device; 8 GPUs make 11."""
        gpus = [(f"gpu:{number}", 2, 1 if number % 2 == 0 else 2) for number in range(self.gpus)]
        rest = [("cpu:0", 1, 1), ("cpu:1", 1, 1), ("memory:0", 3, 4)]
        return gpus + (ODD + rest if self.odd_devices else rest)

    def samples(self) -> Iterator[Record]:
        """The samples in the order of their time, with holes in seq where one was lost."""
        devices = self.devices()
        powers_w = [POWER_W.get(kind, 7.5) * (0.8 + 0.4 * self.rng.random()) for _, kind, _ in devices]
        if self.odd_devices:
            powers_w[0] = 0.0
        shared = {
            "kind": [kind for _, kind, _ in devices],
            "method": [method for _, _, method in devices],
            "device": [name for name, _, _ in devices],
        }
        pool = [self._state(len(devices)) for _ in range(POOL)]
        collector, seq = self._collector(), 0
        for tick, (start, end) in enumerate(self._intervals()):
            if tick == self.restart_at:
                collector, seq = self._collector(), 0
            energies = [int(power * (end - start) * (0.9 + 0.2 * self.rng.random())) for power in powers_w]
            for run_id, share in self._shares(tick):
                identity = {"collector_id": collector, "seq": seq, "host": self.name, "run_id": run_id}
                times = {"zone": self.zone, "start": start, "end": end}
                parts = energies if share == 1.0 else [int(energy * share) for energy in energies]
                seq += 1
                if self.rng.random() >= self.holes:
                    yield identity | times | shared | {"energy_uj": parts} | self.rng.choice(pool) | self._traffic()

    def _collector(self) -> str:
        return f"{self.name}-{self.rng.getrandbits(64):016x}"

    def _intervals(self) -> Iterator[tuple[int, int]]:
        edge = self.first_us
        for tick in range(1, self.ticks + 1):
            following = self.first_us + tick * self.period_us + self.rng.randint(0, self.jitter_us)
            yield edge, following
            edge = following

    def _shares(self, tick: int) -> Shares:
        return next(shares for since, shares in reversed(self.plan) if tick >= since)

    def _state(self, devices: int) -> Record:
        """Utilization, temperature and memory of one tick, some unknown; floats as Avro's 32 bits hold them."""
        rng = self.rng
        return {
            "utilization": [self._float(0.0, 1.0) for _ in range(devices)],
            "temperature_c": [self._float(30.0, 85.0) for _ in range(devices)],
            "memory_bytes": [-1 if rng.random() < 0.2 else rng.randrange(80 << 30) for _ in range(devices)],
            "flags": ["gap"] if rng.random() < 0.1 else [],
        }

    def _float(self, low: float, high: float) -> float:
        """One in four is unknown."""
        return math.nan if self.rng.random() < 0.25 else as_float32(low + (high - low) * self.rng.random())

    def _traffic(self) -> Record:
        """What the run used besides energy; each is unknown now and then, on some hosts always."""
        rng = self.rng
        names = ("cpu_time_us", "disk_read_bytes", "disk_write_bytes", "network_rx_bytes", "network_tx_bytes")
        mute = 2 if self.name.endswith("3") else 0.2
        known = {name: -1 if rng.random() < mute else int(rng.random() * 10_000_000) for name in names}
        return known | {"water_ul": int(rng.random() * 9_000) if self.measures_water else 0}
