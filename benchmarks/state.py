"""What the flow's state costs an epoch, with active runs at 1 Hz beside finished ones.

    python -m benchmarks.state [--active 1000] [--finished 10000] [--epochs 100] [--hours 2] [--no-journal]
    python -m benchmarks.state --active 10000 --finished 100000 --hours 1 --epochs 48

The real job's steps run on Bytewax with its recovery store, in one process and one epoch a batch; a source of this
script's own stands for the buckets and sends what they would: frames of sixteen buckets (2–11 devices a run), run
events, a watermark. First it lets the finished runs end and the active ones grow to so many hours of age, then it
counts: CPU of the whole process in an epoch, of that the folds, the making of this script's frames, the letting go of
rows that a sink would have written, and the rest, which is state: packing, snapshots, Bytewax's pickling and SQLite.

An active run holds its last 20 minutes second by second of which the state keeps cells of 5 s for the lateness (15
minutes), and a cell in each 5 minutes before that. How much a run takes is measured apart, in one shard: of finished
runs, and of active ones after a day and after two. Each start is a process of its own: its greatest memory is its own,
`steady_mb` is that of the counted epochs. What buckets keep of collectors is measured apart. Prints a table of epochs
to stderr and a line of JSON.
"""

import argparse
import json
import multiprocessing
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any, NamedTuple

from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from benchmarks.state_runs import HOUR, SECOND, T0, Fleet, collectors, events, fleets, footprint, told
from dataflows.engine import dataflow
from kappawatt.emissions.job import emissions_steps
from kappawatt.emissions.names import BUCKETS, SHARDS, ZONES
from kappawatt.emissions.rings import with_journals
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stream.job import Item, Job, Source, Step
from kappawatt.stream.ticks import Ticks
from kappawatt.testing.runtime import ManualRuntime

_CYCLE = 48
"""Epochs after which every shard has sent its whole state once since the runs were made: counted from then on."""


class Clock:
    """CPU seconds by what they were spent on, of the epoch that is under way."""

    def __init__(self) -> None:
        self.spent = {"fold": 0.0, "make": 0.0, "dump": 0.0, "rows": 0.0}

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

    def fold(self, *, quiet: bool = False) -> None:
        self._clock.of("fold", lambda: self._logic.fold(quiet=quiet))

    def dump(self) -> Any:
        return self._clock.of("dump", self._logic.dump)


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
                items += events(fleet, low, high, "start", now) + events(fleet, low, high, "stop", now + 120 * SECOND)
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
    for number in range(_CYCLE + options.epochs):
        items = [each for fleet in active for each in second(fleet, now)]
        yield number >= _CYCLE, items + (told(now) if number % 60 == 0 else [])
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
        self._every = max(2, options.epochs // 10)
        self.epochs: list[dict[str, float]] = []
        self.stored: list[dict[str, float]] = []
        self.steady_mb = 0.0

    def next_batch(self) -> list[Item]:
        if self._given:
            return []
        ticks = self._ticks.begin()
        self._note()
        found = self._clock.of("make", next, self._life, None)
        if found is None:
            if self.epochs:
                self.steady_mb = peak_mb()
                subprocess.run(["cp", "-r", self._recovery, self._recovery.with_name("killed")], check=True)
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
            if not self.epochs:
                forget_peak()
            state = total - spent["fold"] - spent["make"] - spent["rows"]
            self.epochs.append({"total": total, **spent, "state": state})
            if len(self.epochs) % self._every == 1:
                self.stored.append(stored(self._recovery))
                print(len(self.epochs), {**self.epochs[-1], **self.stored[-1]}, file=sys.stderr, flush=True)
            self._last = time.process_time()


_COUNT = """
import pathlib, sqlite3, sys
parts = [sqlite3.connect(f"file:{path}?mode=ro", uri=True) for path in pathlib.Path(sys.argv[1]).glob("*.sqlite3")]
print(sum(part.execute("SELECT COUNT(*) FROM snaps").fetchone()[0] for part in parts))
"""


def stored(recovery: Path) -> dict[str, float]:
    """Bytes of the recovery folder, and rows in its tables of snapshots.

    Another process looks: closing a file here would drop the locks of Bytewax's own SQLite in this process, and one of
    the two would cut off the shared memory that the other has mapped (the end is a bus error).
    """
    size = sum(path.stat().st_size for path in recovery.iterdir())
    counted = subprocess.run([sys.executable, "-c", _COUNT, str(recovery)], capture_output=True, text=True, check=True)
    return {"mb": size / 1e6, "kept": int(counted.stdout)}


class Nothing(DynamicSink, StatelessSinkPartition):
    """Where rows go: stores are measured elsewhere."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Nothing":
        return self

    def write_batch(self, items: list[Any]) -> None:
        self._clock.of("rows", lambda: [outlet.rows.clear() for _, outlet in items])


def the_job(options: argparse.Namespace, clock: Clock, feed: Any) -> Job:
    """The emissions job with *feed* as its source, and timed folds."""
    config = LedgerConfig()
    steps = tuple(
        Step(step.step_id, step.keys, lambda key, state, step=step: Timed(step.build(key, state), clock))
        for step in emissions_steps(config, ManualRuntime())
    )
    job = Job("emissions", sources=(Source("feed", ("feed",), feed),), steps=steps)
    return job if options.no_journal else with_journals(job, config)


class Life(NamedTuple):
    """What one start saw to its end."""

    epochs: list[dict[str, float]]
    stored: list[dict[str, float]]
    cpu_s: float
    peak_mb: float
    steady_mb: float


def peak_mb() -> float:
    """Greatest resident memory of this process, since `forget_peak` where that is possible."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def forget_peak() -> None:
    """Let the greatest memory be that from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def apart(options: argparse.Namespace, recovery: Path) -> Life:
    """`run` in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (options, recovery))


def run(options: argparse.Namespace, recovery: Path) -> Life:
    """One start, to the end of its life."""
    clock, feeds = Clock(), []

    def feed(name: str, state: Any) -> Feed:
        feeds.append(Feed(options, clock, recovery, state))
        return feeds[0]

    began = time.process_time()
    flow = dataflow(the_job(options, clock, feed), Nothing(clock))
    run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(recovery)))
    seen = feeds[0]
    return Life(seen.epochs, seen.stored, time.process_time() - began, peak_mb(), seen.steady_mb)


def answer(options: argparse.Namespace, recovery: Path) -> dict[str, Any]:
    """All measurements."""
    seen = apart(options, recovery)
    epochs = seen.epochs
    drained = apart(options, recovery)
    killed = apart(options, recovery.with_name("killed"))
    state = [epoch["state"] * 1e3 for epoch in epochs]
    return {
        "benchmark": "state",
        "journal": not options.no_journal,
        "active": options.active,
        "finished": options.finished,
        "hours": options.hours,
        "epochs": len(epochs),
        "state_cpu_ms": round(fmean(state), 1),
        "state_cpu_ms_p50": round(median(state), 1),
        "state_cpu_ms_p95": round(quantiles(state, n=20)[-1], 1),
        "fold_cpu_ms": round(fmean(epoch["fold"] for epoch in epochs) * 1e3, 1),
        "base_dump_cpu_ms": round(fmean(epoch["dump"] for epoch in epochs) * 1e3, 1),
        "rows_cpu_ms": round(fmean(epoch["rows"] for epoch in epochs) * 1e3, 1),
        "recovery_mb": [round(each["mb"], 1) for each in seen.stored],
        "recovery_rows": [int(each["kept"]) for each in seen.stored],
        "whole_state_mb": round(whole(recovery) / 1e6, 1),
        **footprint(),
        **collectors(options.active + options.finished),
        "start_after_a_drain_cpu_s": round(drained.cpu_s, 1),
        "start_after_a_kill_cpu_s": round(killed.cpu_s, 1),
        "steady_mb": round(seen.steady_mb),
        "start_after_a_drain_mb": round(drained.peak_mb),
        "start_after_a_kill_mb": round(killed.peak_mb),
        "with_history_and_drain_mb": round(seen.peak_mb),
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
