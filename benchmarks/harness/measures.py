"""One measurement each: an engine at work, its identity check, and a record of plain values."""

from collections.abc import Sequence
from typing import Any

from .cluster import BenchError, Cluster, read_answer
from .data import Data
from .engine_run import EngineRun, Pass
from .engines import Engine
from .identity import differences

Record = dict[str, Any]
"""What a measurement gave: measure, engine, figures, and `identity`: ok, differs, none, failed; or n/a and why."""

SOUND = ("ok", "none", "n/a")
"""Verdicts that are no fault of anybody."""
OURS = "kappawatt"
CEILING = "raw_consume"
TOLD = 5


def catchup(
    engine: Engine,
    cluster: Cluster,
    data: Data,
    *,
    measure: str = "catchup",
    passes: int,
    processes: int = 1,
    limit_s: float,
) -> list[Record]:
    """A catch-up over the whole log, a record a pass."""
    run = EngineRun(engine=engine, cluster=cluster, data=data, mode="catchup", passes=passes, parallelism=processes)
    head: Record = {
        "measure": measure,
        "engine": engine.name,
        "devices": data.shape.devices,
        "ticks": data.shape.ticks,
        "readings": data.shape.readings,
        "bytes": data.bytes,
        "processes": processes,
    }
    try:
        with run:
            done = run.await_end(limit_s)
            begun = next(mark for mark in run.marks if mark.word == "start")
            before = {"before_s": begun.at_s - run.began, "before_cpu_s": begun.cpu_s}
            return [head | before | _figures(each) | _checked(run, each, data) for each in done]
    except BenchError as error:
        return [head | {"identity": "failed", "why": str(error).splitlines()[:40]}]


def _figures(each: Pass) -> Record:
    return {"pass": each.number, "cpu_s": each.cpu_s, "wall_s": each.wall_s, "peak_bytes": each.peak_bytes}


def _checked(run: EngineRun, each: Pass, data: Data) -> Record:
    if run.engine.name == CEILING:
        return {"identity": "none"}
    answer = read_answer(run.cluster, run.outputs[each.number - 1])
    found = differences(data.expected, data.counts, answer.rows, answer.counts, most=TOLD)
    return {"rows": len(answer.rows), "written": answer.written, **verdict(found)}


def verdict(found: Sequence[str]) -> Record:
    """The identity check as a record has it."""
    return {"identity": "differs", "why": list(found)} if found else {"identity": "ok"}


def not_available(measure: str, engine: str, why: str, **more: Any) -> Record:
    """The record of what is not measured, and why."""
    return {"measure": measure, "engine": engine, **more, "identity": "n/a", "why": [why]}


def told(record: Record) -> str:
    """A record in one line."""
    figures = ", ".join(f"{name} {_short(value)}" for name, value in record.items() if name not in ("why", "engine"))
    why = "".join(f"\n    {line}" for line in record.get("why", ()))
    return f"{record['engine']}: {figures}{why}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
