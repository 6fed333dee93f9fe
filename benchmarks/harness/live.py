"""Measurements with a producer that goes on at its rate: latency, and what a kill -9 costs."""

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from .cluster import ROOT, Answer, BenchError, Cluster
from .data import Data
from .engine_run import EngineRun
from .engines import Engine
from .identity import differences
from .measures import TOLD, Record, verdict
from .shape import Shape
from .watch import wait_for

LATENESS_S = 10
"""Of live runs, whose ticks are never late: an engine that writes only closed windows waits this long."""
DRAIN_S = 45.0
RETURN_S = 75.0
"""The same after a kill: some groups wait a minute for the dead member."""
WARM_S = 8.0
"""At the beginning of a run that figures leave out."""
SETTLE_S = 1.0
KEPT_UP_S = 1.0
STILL_S = 10.0
"""An engine that has written nothing for so long is not behind: it has no more to say."""


class Paced:
    """A paced producer and what a right answer to it is."""

    def __init__(self, cluster: Cluster, shape: Shape, rate: float) -> None:
        self.shape, self.rate = shape, rate
        self._cluster, self._prefix = cluster, f"bench-live-{uuid.uuid4().hex[:8]}-"
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder, "answer.json")
            said = [cluster.bootstrap, cluster.registry, self._prefix, json.dumps(asdict(shape))]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.harness.pace", *said, str(rate), str(answer)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._line() != "ready":
                self.close()
                raise BenchError("the paced producer did not get ready; what it said is above")
            known = json.loads(answer.read_text())
        self.completes: dict[str, int] = known.pop("completes")
        self.data = Data(shape=shape, prefix=self._prefix, bytes=0, **known)

    def __repr__(self) -> str:
        return f"<Paced {self.rate:.0f} ticks/s>"

    def go(self) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float]:
        """Wait for its end; when its first message was due (s since 1970), and how far behind it ever was."""
        line = self._line()
        if not line:
            raise BenchError("the paced producer ended early; what it said is above")
        said = json.loads(line)
        return said["t0"], said["behind_s"]

    def close(self) -> None:
        """Stop it and remove its topics."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        topics = ("sample", "intensity", "run_event", "dead_letter", "alert")
        self._cluster.remove([self._prefix + topic for topic in topics])

    def _line(self) -> str:
        """Its next line; empty if it ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def at_work(engine: Engine, cluster: Cluster, paced: Paced, limit_s: float) -> Iterator[EngineRun]:
    """The engine, ready for what the producer will send."""
    run = EngineRun(engine=engine, cluster=cluster, data=paced.data, mode="live", lateness_s=LATENESS_S)
    with run:
        run.await_mark("ready", limit_s)
        time.sleep(SETTLE_S)
        yield run


class Written:
    """What an engine has written, read on and on, with when the broker took it."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._messages = cluster.follow(topic)
        self.answer = Answer()
        self.rows: list[tuple[float, str, int]] = []
        """When (s since 1970), key, energy."""

    def __repr__(self) -> str:
        return f"<Written {len(self.rows)} rows>"

    def read(self) -> None:
        """Take what has come."""
        for message in self._messages():
            self.answer.take(message.key(), message.value())
            key = (message.key() or b"").decode()
            if message.value() and not key.startswith("count|"):
                self.rows.append((message.timestamp()[1] / 1000, key, self.answer.rows[key]["energy_uj"]))


def settled(run: EngineRun, written: Written, limit_s: float) -> Record:
    """Wait until all is as expected, and say whether it is.

    n/a: At the end of the limit rows are still coming, so the engine does not keep up. differs: All that came is wrong.

    Raises:
        BenchError: The engine ended.
    """
    data = run.data
    found: list[str] = []
    newest, rows = time.monotonic(), len(written.rows)

    def right() -> bool:
        nonlocal found, newest, rows
        written.read()
        if len(written.rows) > rows:
            newest, rows = time.monotonic(), len(written.rows)
        found = differences(data.expected, data.counts, written.answer.rows, written.answer.counts, most=TOLD)
        return not found or run.process.poll() is not None

    if not wait_for(right, limit_s, every_s=0.5) and time.monotonic() - newest < STILL_S:
        why = f"cannot keep up: {limit_s:.0f} s after the last tick rows are still behind"
        return {"identity": "n/a", "why": [why]}
    if (code := run.process.poll()) is not None:
        raise BenchError(f"{run.engine.name} ended with status {code}:\n{run.tail()}")
    return verdict(found)


def latencies(written: Written, paced: Paced, t0: float) -> list[tuple[float, float]]:
    """(Due time of the last tick of a 5-s row after t0, seconds from then to the first row with all of its energy)."""
    full: dict[str, float] = {}
    for at, key, energy in written.rows:
        if key in paced.completes and key not in full and energy == paced.data.expected[key]["energy_uj"]:
            full[key] = at
    due = {key: number / paced.rate for key, number in paced.completes.items()}
    return sorted((due[key], at - t0 - due[key]) for key, at in full.items())


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank p50, p99, p99.9 and the greatest.

    >>> quantiles([1.0, 2.0, 3.0])
    {'p50_s': 2.0, 'p99_s': 3.0, 'p999_s': 3.0, 'max_s': 3.0}
    """
    ordered = sorted(values)
    ranks = {"p50_s": 0.5, "p99_s": 0.99, "p999_s": 0.999, "max_s": 1.0}
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in ranks.items()}


def trend(values: Sequence[float]) -> float:
    """How much longer rows of the last third took than those of the first: it stays near 0 at a rate that is kept up.

    >>> trend([1.0, 1.0, 1.0, 2.0, 2.0, 4.0])
    2.0
    """
    third = max(1, len(values) // 3)
    return median(values[-third:]) - median(values[:third])


def sustained(engine: Engine, cluster: Cluster, rates: Sequence[int], seconds: float, limit_s: float) -> list[Record]:
    """One rate after the other, until an engine does not keep up: rows come later and later."""
    records: list[Record] = []
    for rate in rates:
        (record,) = latency(engine, cluster, rate, seconds, limit_s)
        records.append(record | {"measure": "sustained"})
        if not record.get("kept_up"):
            break
    return records


def fleet(readings_per_s: float, seconds: float, devices: int = 11, seed: int = 1) -> Shape:
    """As many hosts at 1 Hz as make the rate."""
    hosts = max(15, round(readings_per_s / devices))
    return Shape(ticks=round(hosts * seconds), devices=devices, hosts=hosts, runs=min(100, hosts), seed=seed)


def latency(engine: Engine, cluster: Cluster, rate: float, seconds: float, limit_s: float) -> list[Record]:
    """Open loop at *rate* readings/s."""
    shape = fleet(rate, seconds)
    head: Record = {"measure": "latency", "engine": engine.name, "rate": rate, "devices": shape.devices}
    try:
        with (
            contextlib.closing(Paced(cluster, shape, shape.hosts)) as paced,
            at_work(engine, cluster, paced, limit_s) as run,
        ):
            written = Written(cluster, run.outputs[0])
            cpu_s, began = run.watch.cpu_s(), time.monotonic()
            paced.go()
            t0, behind_s = paced.end()
            used = (run.watch.cpu_s() - cpu_s) / (time.monotonic() - began)
            said = settled(run, written, DRAIN_S)
            values = [value for due, value in latencies(written, paced, t0) if due >= WARM_S]
            figures: dict[str, Any] = {"rows": len(values), "behind_s": behind_s, "cores": used}
            if values:
                figures |= quantiles(values) | {"trend_s": trend(values)}
            figures["kept_up"] = said["identity"] == "ok" and bool(values) and trend(values) <= KEPT_UP_S
            return [head | figures | {"peak_bytes": run.watch.peak_bytes()} | said]
    except BenchError as error:
        return [head | {"identity": "failed", "why": str(error).splitlines()[:40]}]


def recovery(engine: Engine, cluster: Cluster, rate: float, seconds: float, limit_s: float) -> list[Record]:
    """kill -9 in the middle of a paced run, start again at once: until the first new row, until rows are in time."""
    shape = fleet(rate, seconds)
    head: Record = {"measure": "recovery", "engine": engine.name, "rate": rate, "devices": shape.devices}
    try:
        with (
            contextlib.closing(Paced(cluster, shape, shape.hosts)) as paced,
            at_work(engine, cluster, paced, limit_s) as run,
        ):
            began = run.began
            written = Written(cluster, run.outputs[0])
            ready_s = run.marks[0].at_s - began
            paced.go()
            time.sleep(seconds * 0.5)
            killed = time.time()
            run.kill()
            run.start()
            t0, behind_s = paced.end()
            said = settled(run, written, RETURN_S)
            first = [at for at, *_ in written.rows if at > killed + DEAD_S]
            in_time = [t0 + due + value for due, value in latencies(written, paced, t0) if t0 + due > killed]
            figures: dict[str, Any] = {"ready_s": ready_s, "behind_s": behind_s}
            figures["first_row_s"] = min(first) - killed if first else None
            figures["in_time_s"] = min(in_time) - killed if in_time else None
            return [head | figures | said]
    except BenchError as error:
        return [head | {"identity": "failed", "why": str(error).splitlines()[:40]}]


DEAD_S = 0.3
"""What the broker had taken from the killed process may still be appended for a moment."""
