"""Which measurements make a benchmark, in which order, and the file that they go to."""

import json
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from . import engines
from .cluster import BenchError, Cluster
from .data import Data, prepared
from .engines import Engine
from .live import latency, recovery, sustained
from .measures import CEILING, Record, catchup, told
from .shape import Shape, small

RESULTS = Path(__file__).resolve().parents[1] / "results"
OURS = "kappawatt"
QUICK = (OURS, "flink_usual", "flink_expert", "kafka_streams", "bytewax_stock", CEILING)
MEASURES = ("catchup", "processes", "latency", "recovery")
LONG = ("sustained",)
"""Measures that are made only when asked for: the rest fits into an hour."""
LADDER = tuple(50_000 * 2**step for step in range(6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    ticks: Length of the logs by devices a tick. rates: Readings a second of live runs. minutes: Stop to begin
    measurements after so long.
    """

    name: str
    engines: tuple[str, ...]
    measures: tuple[str, ...]
    rounds: int
    ticks: dict[int, int]
    rates: tuple[int, ...]
    live_s: float
    recovery_rate: int = 50_000
    limit_s: float = 240.0
    minutes: float


def full(chosen: Sequence[str] = ()) -> Plan:
    """All peers."""
    return Plan(
        name="all", engines=tuple(chosen) or tuple(engines.names()), measures=MEASURES, rounds=3,
        ticks={11: 1_000_000, 1: 1_000_000}, rates=(5_000, 20_000, 50_000), live_s=30.0, minutes=58.0,
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
        self._head = {"plan": plan.name, "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **machine()}

    def __repr__(self) -> str:
        return f"<Results {len(self.records)} in {self.path}>"

    def add(self, records: Sequence[Record], round_number: int) -> None:
        """Keep and tell."""
        for record in records:
            self.records.append({**record, "round": self._before + round_number})
            print(told(self.records[-1]), flush=True)
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
    chosen = _built(plan.engines)
    for round_number in range(1, plan.rounds + 1):
        for work in _round(cluster, plan, chosen, round_number):
            if time.monotonic() - began > plan.minutes * 60:
                print(f"the plan's {plan.minutes:.0f} min are over: what is missing is not measured", file=sys.stderr)
                return
            results.add(work(), round_number)


def _built(names: Sequence[str]) -> list[Engine]:
    """Engines whose environment can be built here; the others are named."""
    found = []
    for name in names:
        try:
            engine = engines.load(name)
            engine.built()
            found.append(engine)
        except (BenchError, OSError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
    return found


def _round(cluster: Cluster, plan: Plan, chosen: Sequence[Engine], number: int) -> Iterator[Callable[[], list[Record]]]:
    """The measurements of one round; their order is another one in every round."""
    order = list(chosen)
    random.Random(number).shuffle(order)
    live = [engine for engine in order if engine.name != CEILING]
    if "catchup" in plan.measures:
        for devices, ticks in plan.ticks.items():
            for engine in order:
                passes = engine.passes if number == 1 else min(engine.passes, 2)
                data = partial(log_for, cluster, engine, devices, ticks)
                yield partial(_catchup, cluster, plan, engine, data, passes=passes)
    if "processes" in plan.measures:
        for devices, ticks in plan.ticks.items():
            for engine in (each for each in live if each.name == OURS):
                data = partial(prepared, cluster, Shape(ticks=ticks, devices=devices, late=0.0))
                for processes in (1, 2):
                    yield partial(_catchup, cluster, plan, engine, data, measure="processes", processes=processes)
    if number == 1 and "latency" in plan.measures:
        for rate in plan.rates:
            for engine in live:
                yield partial(latency, engine, cluster, rate, plan.live_s, plan.limit_s)
    if number == 1 and "sustained" in plan.measures:
        for engine in live:
            yield partial(sustained, engine, cluster, LADDER, plan.live_s, plan.limit_s)
    if number == 1 and "recovery" in plan.measures:
        for engine in live:
            yield partial(recovery, engine, cluster, plan.recovery_rate, plan.live_s, plan.limit_s)


def _catchup(
    cluster: Cluster,
    plan: Plan,
    engine: Engine,
    data: Callable[[], Data],
    *,
    measure: str = "catchup",
    passes: int = 1,
    processes: int = 1,
) -> list[Record]:
    limit_s = plan.limit_s * passes
    return catchup(engine, cluster, data(), measure=measure, passes=passes, processes=processes, limit_s=limit_s)


def log_for(cluster: Cluster, engine: Engine, devices: int, ticks: int) -> Data:
    """The log, or a shorter one with fewer hosts for an engine that would take too long."""
    if engine.most_ticks is not None and engine.most_ticks < ticks:
        return prepared(cluster, small(engine.most_ticks, devices))
    return prepared(cluster, Shape(ticks=ticks, devices=devices))
