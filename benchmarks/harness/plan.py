"""Which measurements make a benchmark, in which order, and the file that they go to."""

import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from . import engines
from .cluster import BenchError, Cluster
from .data import prepared
from .engines import Engine
from .live import latency, recovery, sustained
from .measures import CEILING, OURS, Record, catchup, not_available, told
from .shape import Shape, small

RESULTS = Path(__file__).resolve().parents[1] / "results"
QUICK = (OURS, "flink_usual", "flink_expert", "kafka_streams", "bytewax_stock", CEILING)
MEASURES = ("catchup", "processes", "latency", "recovery")
LONG = ("sustained",)
"""Measures that are made only when asked for: the rest fits into an hour."""
LOG_US, CHECK_US, LIVE_S = 40.0, 3.0, 12.0
"""About what a tick takes to be made and, of its rows, to be read again; what a live run takes beside its length."""
TRUSTED_S = 120.0
"""The guesses count as this much of experience, so that a first slow measurement does not frighten."""
LADDER = tuple(50_000 * 2**step for step in range(6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    ticks: Length of the logs by devices a tick. rates: Readings a second of live runs. rounds: Of catch-ups;
    slow_rounds: of those of engines that are given a shorter log. minutes: Stop to begin measurements after so long.
    """

    name: str
    engines: tuple[str, ...]
    measures: tuple[str, ...]
    rounds: int
    slow_rounds: int = 1
    ticks: dict[int, int]
    rates: tuple[int, ...]
    live_s: float
    recovery_rate: int = 50_000
    limit_s: float = 240.0
    minutes: float


@dataclass(frozen=True, slots=True)
class Work:
    """What one start of an engine is for: its name, about how long it takes, what does it, in which round."""

    name: str
    expected_s: float
    do: Callable[[], list[Record]]
    round: int = 1


def full(chosen: Sequence[str] = ()) -> Plan:
    """All peers."""
    return Plan(
        name="all", engines=tuple(chosen) or tuple(engines.names()), measures=MEASURES, rounds=3,
        ticks={11: 1_000_000, 1: 1_000_000}, rates=(5_000, 20_000, 50_000), live_s=20.0, minutes=57.0,
    )  # fmt: skip


def quick(chosen: Sequence[str] = ()) -> Plan:
    """Ours, Flink, Kafka Streams, stock Bytewax."""
    there = [name for name in QUICK if name in engines.names()]
    return Plan(
        name="quick", engines=tuple(chosen) or tuple(there), measures=("catchup", "latency"), rounds=1,
        ticks={11: 1_000_000}, rates=(20_000,), live_s=20.0, limit_s=90.0, minutes=9.0,
    )  # fmt: skip


class Results:
    """Records as they come, each saved at once. *more*: in rounds after those that the file has already."""

    def __init__(self, path: Path, plan: Plan, *, more: bool = False) -> None:
        self.path = path
        self.records: list[Record] = json.loads(path.read_text())["records"] if more and path.exists() else []
        self._before = max((record["round"] for record in self.records), default=0)
        self._head: dict[str, object] = {
            "plan": plan.name,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **machine(),
        }

    def __repr__(self) -> str:
        return f"<Results {len(self.records)} in {self.path}>"

    def add(self, records: Sequence[Record], round_number: int) -> None:
        """Keep and tell."""
        for record in records:
            self.records.append({**record, "round": self._before + round_number})
            print(told(self.records[-1]), flush=True)
        self._save()

    def leave(self, names: Sequence[str]) -> None:
        """Note what there was no time for."""
        self._head["left_out"] = list(names)
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self._head | {"records": self.records}, indent=1) + "\n")


def machine() -> dict[str, object]:
    """What it ran on, without anybody's names."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def measure(cluster: Cluster, plan: Plan, results: Results) -> None:
    """All of a plan, rounds over engines, so that what else the machine does hits everybody."""
    began = time.monotonic()
    works = list(_works(cluster, plan, _built(plan, results), results))
    progress = Progress([work.expected_s for work in works])
    print(f"{len(works)} measurements, about {progress.left_s / 60:.0f} min", file=sys.stderr, flush=True)
    for number, work in enumerate(works):
        spent_s = time.monotonic() - began
        if spent_s > plan.minutes * 60:
            results.leave([each.name for each in works[number:]])
            print(f"the plan's {plan.minutes:g} min are over: {len(works) - number} are left out", file=sys.stderr)
            return
        left = f"{spent_s / 60:.0f} min gone, about {progress.left_s / 60:.0f} left"
        print(f"[{number + 1} of {len(works)}, {left}] {work.name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        results.add(work.do(), work.round)
        progress.done(time.monotonic() - start)


class Progress:
    """What is left of works whose durations were guessed, by how good the guesses were so far.

    >>> progress = Progress([10.0, 10.0, 10.0])
    >>> progress.done(20.0)
    >>> round(progress.left_s, 1)
    21.5
    """

    def __init__(self, expected_s: Sequence[float]) -> None:
        self._expected_s, self._number, self._spent_s = list(expected_s), 0, 0.0

    def __repr__(self) -> str:
        return f"<Progress {self._number} of {len(self._expected_s)}>"

    def done(self, spent_s: float) -> None:
        """The next one is done."""
        self._number += 1
        self._spent_s += spent_s

    @property
    def left_s(self) -> float:
        """About how long the rest takes."""
        past, rest = sum(self._expected_s[: self._number]), sum(self._expected_s[self._number :])
        return rest * (self._spent_s + TRUSTED_S) / (past + TRUSTED_S)


def _built(plan: Plan, results: Results) -> list[Engine]:
    """Engines whose environment can be built here; the others are named."""
    found = []
    for name in plan.engines:
        try:
            engine = engines.load(name)
            engine.built()
            found.append(engine)
        except (BenchError, OSError, subprocess.TimeoutExpired) as error:
            results.add([not_available("all", name, f"cannot be built here: {error}")], 1)
    return found


def _works(cluster: Cluster, plan: Plan, chosen: Sequence[Engine], results: Results) -> Iterator[Work]:
    """First the logs and a round of everything, then the further rounds of catch-ups: if time is short, they miss."""
    yield from _logs(cluster, plan, chosen)
    for number in range(1, plan.rounds + 1):
        # The order is another one in every round.
        order = list(chosen)
        random.Random(number).shuffle(order)
        if "catchup" in plan.measures:
            yield from _catchups(cluster, plan, order, number)
        if "processes" in plan.measures:
            yield from _processes(cluster, plan, order, number)
        if number == 1:
            yield from _lives(cluster, plan, [engine for engine in order if engine.name != CEILING], results)


def _logs(cluster: Cluster, plan: Plan, chosen: Sequence[Engine]) -> Iterator[Work]:
    """Logs are made before anything is measured."""
    shapes = {shape_for(engine, devices, ticks) for engine in chosen for devices, ticks in plan.ticks.items()}
    wanted = shapes if "catchup" in plan.measures else set()
    if "processes" in plan.measures and OURS in (engine.name for engine in chosen):
        wanted |= {on_time(devices, ticks) for devices, ticks in plan.ticks.items()}
    for shape in sorted(wanted, key=lambda each: each.key):

        def make(shape: Shape = shape) -> list[Record]:
            prepared(cluster, shape)
            return []

        yield Work(f"log of {shape.ticks:,} ticks of {shape.devices}", shape.ticks * LOG_US / 1e6, make)


def _catchups(cluster: Cluster, plan: Plan, order: Sequence[Engine], number: int) -> Iterator[Work]:
    for devices, ticks in plan.ticks.items():
        for engine in order:
            if number > (plan.rounds if engine.most_ticks is None else plan.slow_rounds):
                continue
            passes = engine.passes if number == 1 else min(engine.passes, 2)
            shape = shape_for(engine, devices, ticks)
            yield _catchup(cluster, plan, engine, shape, number, "catchup", passes, 1)


def _processes(cluster: Cluster, plan: Plan, order: Sequence[Engine], number: int) -> Iterator[Work]:
    for devices, ticks in plan.ticks.items():
        for engine in (each for each in order if each.name == OURS):
            for processes in (1, 2):
                shape = on_time(devices, ticks)
                yield _catchup(cluster, plan, engine, shape, number, "processes", 1, processes)


def _catchup(
    cluster: Cluster, plan: Plan, engine: Engine, shape: Shape, number: int, name: str, passes: int, processes: int
) -> Work:
    def do() -> list[Record]:
        data, limit_s = prepared(cluster, shape), plan.limit_s * passes
        return catchup(engine, cluster, data, measure=name, passes=passes, processes=processes, limit_s=limit_s)

    expected_s = engine.start_s + passes * (shape.ticks * engine.tick_us / 1e6 + shape.ticks * CHECK_US / 1e6)
    said = f"{engine.name}: {name}, ticks of {shape.devices}, round {number}"
    return _unless_it_cannot(engine, name, Work(said, expected_s, do, number), devices=shape.devices)


def _unless_it_cannot(engine: Engine, measure: str, work: Work, **more: object) -> Work:
    if measure not in engine.cannot:
        return work
    return replace(
        work, expected_s=0.0, do=lambda: [not_available(measure, engine.name, engine.cannot[measure], **more)]
    )


def _lives(cluster: Cluster, plan: Plan, order: Sequence[Engine], results: Results) -> Iterator[Work]:
    """Runs with a paced producer. What did not keep up at a rate is not asked for more."""
    found: list[tuple[str, int, Callable[..., list[Record]], Engine, int]] = []
    if "latency" in plan.measures:
        found += [("latency", 0, latency, engine, rate) for rate in sorted(plan.rates) for engine in order]
    if "recovery" in plan.measures:
        found += [("recovery", 1, recovery, engine, plan.recovery_rate) for engine in order]
    for name, starts, run, engine, rate in found:

        def do(name: str = name, run: Any = run, engine: Engine = engine, rate: int = rate) -> list[Record]:
            if below := too_slow_at(results.records, engine.name, rate):
                why = f"cannot keep up with {below:,} readings/s"
                return [not_available(name, engine.name, why, rate=rate, devices=11)]
            return run(engine, cluster, rate, plan.live_s, plan.limit_s)

        expected_s = (1 + starts) * engine.start_s + plan.live_s + LIVE_S
        work = Work(f"{engine.name}: {name} at {rate:,} readings/s", expected_s, do)
        yield _unless_it_cannot(engine, name, work, rate=rate, devices=11)
    if "sustained" in plan.measures:
        for engine in order:
            do_it = partial(sustained, engine, cluster, LADDER, plan.live_s, plan.limit_s)
            yield Work(f"{engine.name}: sustained rate", len(LADDER) * (plan.live_s + LIVE_S + engine.start_s), do_it)


def too_slow_at(records: Sequence[Record], name: str, rate: int) -> int | None:
    """The least rate up to *rate* at which an engine's rows came later and later; None: there is none."""
    tried = [each for each in records if each["measure"] == "latency" and each["engine"] == name]
    return min((each["rate"] for each in tried if each["rate"] <= rate and each.get("kept_up") is False), default=None)


def on_time(devices: int, ticks: int) -> Shape:
    """The log that is read by one and by two processes: without late ticks."""
    return Shape(ticks=ticks, devices=devices, late=0.0)


def shape_for(engine: Engine, devices: int, ticks: int) -> Shape:
    """The log, or a shorter one with fewer hosts for an engine that would take too long."""
    if engine.most_ticks is not None and engine.most_ticks < ticks:
        return small(engine.most_ticks, devices)
    return Shape(ticks=ticks, devices=devices)
