"""What the flow's state costs an epoch, with active runs at 1 Hz beside finished ones.

    python benchmarks/state.py [--active 1000] [--finished 10000] [--epochs 100] [--hours 2] [--no-journal]

The real job's steps run on Bytewax with its recovery store, in one process and one epoch a batch; a source of this
script's own stands for the buckets and sends what they would: frames of sixteen buckets (2–11 devices a run), run
events, a watermark. First it lets the finished runs end and the active ones grow to so many hours of age, then it
counts: CPU of the whole process in an epoch, of that the folds, the making of this script's frames, and the rest, which
is state: packing, snapshots, Bytewax's pickling and SQLite. Prints a table of epochs to stderr and a line of JSON.
"""

import argparse
import json
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import numpy as np
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.engine import dataflow
from kappawatt.emissions.job import emissions_job
from kappawatt.emissions.names import BUCKETS, CONTROL, SHARDS, ZONES
from kappawatt.emissions.rings import with_journals
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import CELL_COLUMNS, DEVICE_COLUMNS, USAGE_COLUMNS, Device, Frame, Place
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.runs import Event
from kappawatt.stream.job import Item, Job, Source, Step
from kappawatt.stream.ticks import Ticks
from kappawatt.testing.runtime import ManualRuntime

SECOND = 1_000_000
HOUR = 3_600 * SECOND
T0 = 1_760_000_400 * SECOND // HOUR * HOUR


class Clock:
    """CPU seconds by what they were spent on, of the epoch that is under way."""

    def __init__(self) -> None:
        self.spent = {"fold": 0.0, "make": 0.0, "dump": 0.0}

    def of(self, what: str, call: Any, *args: Any) -> Any:
        """Call, and note the CPU that it took."""
        began = time.process_time()
        try:
            return call(*args)
        finally:
            self.spent[what] += time.process_time() - began


class Timed:
    """A step's logic whose folds are timed."""

    def __init__(self, logic: Any, clock: Clock) -> None:
        self._logic, self._clock = logic, clock
        self.on_batch, self.snapshot, self.has_more = logic.on_batch, logic.snapshot, logic.has_more

    def fold(self) -> None:
        self._clock.of("fold", self._logic.fold)

    def dump(self) -> Any:
        return self._clock.of("dump", self._logic.dump)


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
        self.first = np.concatenate(([0], np.cumsum(counts)))

    def frame(self, start_us: int, windows: int, low: int, high: int, *, devices: bool) -> Frame:
        """Some of its runs over some 5-s windows; a window's cell holds a second of it."""
        runs = high - low
        place = np.repeat(np.arange(runs), windows)
        window = start_us // (5 * SECOND) + np.tile(np.arange(windows), runs)
        count = len(place)
        begin = np.maximum(window * 5 * SECOND, start_us)
        columns = {"water_ul": 0, "covered_us": SECOND, "first_us": begin, "last_us": begin + SECOND, "samples": 1}
        cells = {name: np.full(count, columns[name], np.int64) for name in CELL_COLUMNS if name != "energy_uj"}
        cells["energy_uj"] = np.tile(np.array([90 * SECOND, 0, 700 * SECOND, 0, 40 * SECOND, 0, 0, 0]), (count, 1))
        cells = {name: cells[name] for name in CELL_COLUMNS}
        usage = {name: np.full(runs, 1_000, np.int64) for name in USAGE_COLUMNS}
        usage |= {"first_us": np.full(runs, start_us), "last_us": np.full(runs, start_us + SECOND)}
        wanted = self.devices[self.first[low] : self.first[high]] if devices else []
        size = len(wanted)
        rows = {name: np.full(size, 7, column.dtype) for name, column in DEVICE_COLUMNS.items()}
        rows["energy_uj"] = np.arange(size) * 1_000_003 + 50 * SECOND
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


def life(options: argparse.Namespace) -> Iterator[tuple[bool, list[Item]]]:
    """Epoch by epoch what the buckets send, and whether the epoch counts."""
    done, active = fleets("done", options.finished), fleets("run", options.active)
    portion = max(1, 5_000 // len(SHARDS))
    now = T0
    for low in range(0, max((len(fleet.places) for fleet in done), default=0), portion):
        items: list[Item] = []
        for fleet in done:
            high = min(low + portion, len(fleet.places))
            if low < high:
                items += events(fleet, low, high, "start", now) + events(fleet, low, high, "stop", now + 600 * SECOND)
                items.append((fleet.shard, fleet.frame(now, 24, low, high, devices=True)))
        now += HOUR
        yield False, [*items, *told(now)]
    now += 6 * HOUR
    for fleet in active:
        yield False, events(fleet, 0, len(fleet.places), "start", now)
    end = now + options.hours * HOUR
    while now < end - 1_200 * SECOND:  # a window in each 5 minutes is enough for a row that stays
        yield False, [*(item for fleet in active for item in slots(fleet, now)), *told(now)]
        now += 1_200 * SECOND
    while now < end:
        frames = [(fleet.shard, fleet.frame(now, 12, 0, len(fleet.places), devices=True)) for fleet in active]
        yield False, [*frames, *told(now)]
        now += 60 * SECOND
    for number in range(options.epochs):
        items = [each for fleet in active for each in second(fleet, now)]
        yield True, items + (told(now) if number % 60 == 0 else [])
        now += SECOND


def slots(fleet: Fleet, start_us: int) -> list[Item]:
    """Twenty minutes of its runs, a cell every five."""
    at = [start_us + 300 * SECOND * number for number in range(4)]
    return [(fleet.shard, fleet.frame(each, 1, 0, len(fleet.places), devices=False)) for each in at]


def second(fleet: Fleet, start_us: int) -> list[Item]:
    """One second of its runs, in the frames of sixteen buckets."""
    edges = [len(fleet.places) * bucket // len(BUCKETS) for bucket in range(len(BUCKETS) + 1)]
    pairs = pairwise(edges)
    return [(fleet.shard, fleet.frame(start_us, 1, low, high, devices=True)) for low, high in pairs if high > low]


class Feed:
    """A part that stands for the buckets: one epoch's items a batch."""

    def __init__(self, options: argparse.Namespace, clock: Clock, recovery: Path, state: Any) -> None:
        self._life = life(options) if state is None else iter([(False, []), (False, [])])
        self._clock, self._ticks, self._recovery = clock, Ticks(SHARDS, ZONES), recovery
        self._counts = False
        self._given = False
        self._last = time.process_time()
        self.epochs: list[dict[str, float]] = []

    def next_batch(self) -> list[Item]:
        if self._given:
            return []
        ticks = self._ticks.begin()
        self._note()
        found = self._clock.of("make", next, self._life, None)
        if found is None:
            if self.epochs:
                shutil.copytree(self._recovery, self._recovery.with_name("killed"))
            raise StopIteration
        self._counts, items = found
        self._given = True
        self._ticks.sent(items)
        return ticks + items

    def wait_s(self) -> float:
        return 0.0

    def snapshot(self) -> Any:
        self._given = False
        return 1

    def close(self) -> None:
        pass

    def _note(self) -> None:
        """The epoch before is committed."""
        now = time.process_time()
        total, self._last = now - self._last, now
        spent, self._clock.spent = self._clock.spent, dict.fromkeys(self._clock.spent, 0.0)
        if self._counts:
            state = total - spent["fold"] - spent["make"]
            self.epochs.append({"total": total, **spent, "state": state, **stored(self._recovery)})


def stored(recovery: Path) -> dict[str, float]:
    """Bytes of the recovery folder, and rows in its tables of snapshots."""
    size = sum(path.stat().st_size for path in recovery.iterdir())
    rows = 0
    for path in recovery.glob("*.sqlite3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as part:
            rows += part.execute("SELECT COUNT(*) FROM snaps").fetchone()[0]
        part.close()
    return {"mb": size / 1e6, "rows": rows}


class Nothing(DynamicSink, StatelessSinkPartition):
    """Where rows go: stores are measured elsewhere."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Nothing":
        return self

    def write_batch(self, items: list[Any]) -> None:
        pass


def the_job(options: argparse.Namespace, clock: Clock, feed: Any) -> Job:
    """The emissions job with *feed* as its source, and timed folds."""
    config = LedgerConfig()
    job = emissions_job(
        config,
        ManualRuntime(),
        open_bucket=lambda *_: None,
        open_topic=lambda *_: None,
        decoder=lambda: None,
        schema_of=lambda _: None,
        bounded=False,
        final=False,
        idle_us=0,
    )  # type: ignore[arg-type]
    steps = tuple(
        Step(step.step_id, step.keys, lambda key, state, step=step: Timed(step.build(key, state), clock))
        for step in job.steps
    )
    job = replace(job, sources=(Source("feed", ("feed",), feed),), steps=steps)
    return job if options.no_journal else with_journals(job, config)


def run(options: argparse.Namespace, recovery: Path) -> tuple[Feed, float]:
    """One start, to the end of its life; what it saw, and the CPU seconds that it took in all."""
    clock, feeds = Clock(), []

    def feed(name: str, state: Any) -> Feed:
        feeds.append(Feed(options, clock, recovery, state))
        return feeds[0]

    began = time.process_time()
    flow = dataflow(the_job(options, clock, feed), Nothing())
    run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(recovery)))
    return feeds[0], time.process_time() - began


def answer(options: argparse.Namespace, recovery: Path) -> dict[str, Any]:
    """All measurements."""
    seen, _ = run(options, recovery)
    epochs = seen.epochs
    for number in range(0, len(epochs), max(1, len(epochs) // 10)):
        print(number, {name: round(value, 4) for name, value in epochs[number].items()}, file=sys.stderr)
    _, drained_s = run(options, recovery)
    _, killed_s = run(options, recovery.with_name("killed"))
    state = [epoch["state"] * 1e3 for epoch in epochs]
    return {
        "benchmark": "state",
        "journal": not options.no_journal,
        "active": options.active,
        "finished": options.finished,
        "hours": options.hours,
        "epochs": len(epochs),
        "state_cpu_ms": round(fmean(state), 1),
        "state_cpu_ms_p95": round(quantiles(state, n=20)[-1], 1),
        "fold_cpu_ms": round(fmean(epoch["fold"] for epoch in epochs) * 1e3, 1),
        "base_dump_cpu_ms": round(fmean(epoch["dump"] for epoch in epochs) * 1e3, 1),
        "recovery_mb": [round(epochs[0]["mb"], 1), round(epochs[-1]["mb"], 1)],
        "recovery_rows": [int(epochs[0]["rows"]), int(epochs[-1]["rows"])],
        "whole_state_mb": round(whole(recovery) / 1e6, 1),
        "start_after_a_drain_cpu_s": round(drained_s, 1),
        "start_after_a_kill_cpu_s": round(killed_s, 1),
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def whole(recovery: Path) -> int:
    """Bytes of all bases: what the drain at the end kept."""
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    for path in recovery.glob("*.sqlite3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as part:
            rows = part.execute("SELECT step_id, state_key, snap_epoch, length(ser_change) FROM snaps").fetchall()
        part.close()
        for step, key, epoch, size in rows:
            if newest.get((step, key), (-1, 0))[0] < epoch:
                newest[step, key] = (epoch, size or 0)
    return sum(size for _, size in newest.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--active", type=int, default=1_000)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--no-journal", action="store_true", help="keep whole states, to compare")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recovery = Path(folder) / "recovery"
        recovery.mkdir()
        init_db_dir(recovery, 8)
        print(json.dumps(answer(options, recovery)))


if __name__ == "__main__":
    main()
