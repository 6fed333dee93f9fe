"""Runs as frames, for benchmarks/state.py, and how much a shard keeps of one."""

import pickle
import time
import zlib
from typing import Any

import numpy as np

from kappawatt.emissions.names import BUCKETS, CONTROL, SHARDS
from kappawatt.emissions.steps import ShardLogic
from kappawatt.ledger.collectors import Collectors
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import CELL_COLUMNS, DEVICE_COLUMNS, USAGE_COLUMNS, Device, Frame, Place
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.runs import Event
from kappawatt.stream.job import Item
from kappawatt.testing.runtime import ManualRuntime

SECOND = 1_000_000
HOUR = 3_600 * SECOND
T0 = 1_760_000_400 * SECOND // HOUR * HOUR


class Fleet:
    """Runs of one shard, as frames. *devices* is how many each run has."""

    def __init__(self, shard: int, names: list[str]) -> None:
        self.shard = SHARDS[shard]
        self.places = [Place(name, f"node-{zlib.crc32(name.encode()) % 20_000:05d}", "DEU") for name in names]
        counts = [2 + zlib.crc32(name.encode()) % 10 for name in names]
        kinds = [["cpu:0", "memory:0", *(f"gpu:{gpu}" for gpu in range(9))][:count] for count in counts]
        self.devices = [
            Device(p.run_id, p.host, name) for p, each in zip(self.places, kinds, strict=True) for name in each
        ]
        self.first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    def frame(self, start_us: int, windows: int, low: int, high: int, *, devices: bool) -> Frame:
        """Some of its runs over some 5-s windows; a window's cell holds a second of it."""
        runs = high - low
        place = np.repeat(np.arange(runs), windows)
        window = start_us // (5 * SECOND) + np.tile(np.arange(windows), runs)
        count = len(place)
        begin = np.maximum(window * 5 * SECOND, start_us)
        columns = {"water_ul": 0, "covered_us": SECOND, "first_us": begin, "last_us": begin + SECOND, "samples": 1}
        cells = {name: np.full(count, columns[name], np.int64) for name in CELL_COLUMNS if name != "energy_uj"}
        noise = np.random.default_rng(start_us // SECOND).integers(0, 1 << 24, (count, 8))
        watts = np.array([90, 0, 700, 0, 40, 0, 0, 0])
        cells["energy_uj"] = watts * SECOND + noise * (watts > 0)
        cells = {name: cells[name] for name in CELL_COLUMNS}
        usage = {name: np.full(runs, 1, np.int64) for name in USAGE_COLUMNS}
        usage |= dict.fromkeys(("cpu_time_us", "disk_bytes", "network_bytes", "memory_bytes_max"), noise[:runs, 0])
        end = start_us + (windows - 1) * 5 * SECOND + SECOND
        usage |= {"first_us": np.full(runs, start_us), "last_us": np.full(runs, end)}
        wanted = self.devices[self.first[low] : self.first[high]] if devices else []
        size = len(wanted)
        rows = {name: np.full(size, 7, column.dtype) for name, column in DEVICE_COLUMNS.items()}
        rows["energy_uj"] = np.arange(size) * 1_000_003 + 50 * SECOND
        rows["utilization_ppm"] = np.arange(size) * 7_919 % 1_000_000
        rows["temperature_c_max"] = 40.0 + np.arange(size) % 40
        slot = np.full(size, start_us // (300 * SECOND))
        every = np.arange(runs)
        return Frame(
            self.places[low:high], place, window, cells, every, usage, wanted, np.arange(size), slot, rows
        )  # fmt: skip


def fleets(prefix: str, runs: int) -> list[Fleet]:
    """Runs spread over the shards as their ids are."""
    names = [f"{prefix}-{zlib.crc32(f'{prefix}{run}'.encode()):08x}-{run:022d}" for run in range(runs)]
    by_shard: dict[int, list[str]] = {shard: [] for shard in range(len(SHARDS))}
    for name in names:
        by_shard[zlib.crc32(name.encode()) % len(SHARDS)].append(name)
    return [Fleet(shard, names) for shard, names in by_shard.items()]


def events(fleet: Fleet, low: int, high: int, kind: str, at: int) -> list[Item]:
    """A start or stop of some of its runs, with what a training says of itself."""
    values = {"user": "u42", "project": "vision", "model": "vit", "framework": "torch", "labels": {"team": "blue"}}
    return [
        (fleet.shard, (p.run_id, Event(at, f"{p.run_id}-{kind}", kind, values))) for p in fleet.places[low:high]
    ]  # fmt: skip


def told(watermark_us: int) -> list[Item]:
    """What all buckets tell all shards."""
    return [(shard, Report(name, watermark_us)) for shard in SHARDS for name in (*BUCKETS, CONTROL)]


def footprint() -> dict[str, float]:
    """Bytes in the state of one shard: a finished run, and an active one by days of age."""

    def size(logic: ShardLogic) -> int:
        logic.dump()  # what is over is compressed in the dump after its last change
        return len(pickle.dumps(logic.dump(), pickle.HIGHEST_PROTOCOL))

    def fold(logic: ShardLogic, now: int, *messages: Any) -> None:
        logic.on_batch([*messages, *(Report(name, now) for name in (*BUCKETS, CONTROL))])
        logic.fold()
        logic.on_batch([])

    done = Fleet(0, [f"done-{run:028d}" for run in range(1_000)])
    fleet = Fleet(0, [f"run-{run:029d}" for run in range(64)])
    over, running = (ShardLogic(SHARDS[0], None, LedgerConfig(), ManualRuntime()) for _ in range(2))
    blank = size(over)
    said = events(done, 0, 1_000, "start", T0) + events(done, 0, 1_000, "stop", T0 + 120 * SECOND)
    fold(over, T0, *(value for _, value in said), done.frame(T0, 24, 0, 1_000, devices=True))
    for hours in (1, 2, 3):
        fold(over, T0 + hours * HOUR)
    fold(running, T0, *(value for _, value in events(fleet, 0, 64, "start", T0)))
    days = [size(running)]
    for minutes in range(0, 2 * 24 * 60, 20):
        now = T0 + minutes * 60 * SECOND
        frame = fleet.frame(now, 240, 0, 64, devices=True)
        fold(running, now + 1_200 * SECOND, frame)
        if (minutes + 20) % (24 * 60) == 0:
            days.append(size(running))
    return {
        "finished_run_bytes": round((size(over) - blank) / 1_000),
        "active_run_first_day_bytes": round((days[1] - blank) / 64),
        "active_run_second_day_bytes": round((days[2] - days[1]) / 64),
    }


def collectors(count: int) -> dict[str, float]:
    """What the snapshots of all buckets cost an epoch when so many collectors were seen; no journal keeps them."""
    buckets = []
    for bucket in range(len(BUCKETS)):
        known = Collectors(LedgerConfig().horizon_us)
        names = [f"host-{number:06d}/0123456789abcdef" for number in range(bucket, count, len(BUCKETS))]
        codes = np.array([known.code(name) for name in names], np.int64)
        known.admit(np.repeat(codes, 2), np.tile([1, 2], len(codes)))
        known.note(codes.tolist(), f"sample/{bucket}", T0)
        known.dump()
        buckets.append(known)
    began = time.process_time()
    kept = [pickle.dumps(known.dump(), pickle.HIGHEST_PROTOCOL) for known in buckets]
    spent = time.process_time() - began
    return {"collectors": count, "collectors_mb": sum(map(len, kept)) / 1e6, "collectors_cpu_ms": round(spent * 1e3, 1)}
