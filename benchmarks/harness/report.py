"""Tables of results: medians and ranges, and the goals. Only figures that passed the identity check are in them."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import engines
from .cluster import BenchError
from .measures import CEILING, OURS, SOUND, Record

Values = dict[str, list[float]]
"""Engine → one figure a round."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Of the records of a catch-up, those of one shape of ticks."""

    records: Sequence[Record]
    devices: int
    processes: int = 1
    measure: str = "catchup"

    def values(self, figure: Callable[[Record], float], *, warm: bool) -> Values:
        """The figure of each engine's first pass, or of its last pass, by round."""
        found: dict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
        for record in counted(self.records, self.measure):
            if record["devices"] != self.devices or record["processes"] != self.processes:
                continue
            known = found[record["engine"]].get(record["round"])
            number = record["pass"]
            if known is None or (number > known[0] if warm else number < known[0]):
                found[record["engine"]][record["round"]] = (number, figure(record))
        return {name: [value for _, value in rounds.values()] for name, rounds in found.items()}


def counted(records: Iterable[Record], measure: str) -> list[Record]:
    """Records of a measure whose rows were right, or that has none."""
    return [r for r in records if r["measure"] == measure and r["identity"] in ("ok", "none")]


def us_a_tick(record: Record) -> float:
    """CPU between the pass's begin and end."""
    return float(record["cpu_s"]) / float(record["ticks"]) * 1e6


def records_of(path: Path) -> list[Record]:
    """The records of a file of results."""
    found: list[Record] = json.loads(path.read_text())["records"]
    return found


def report(path: Path) -> str:
    """A Markdown text of all that a file of results holds."""
    if not path.exists():
        raise BenchError(f"{path} is not there; `python -m benchmarks.peers run` makes it")
    said = json.loads(path.read_text())
    records = records_of(path)
    parts = [_catchup(records, devices) for devices in (11, 1)] + [
        _processes(records),
        _latency(records),
        _sustained(records),
        _recovery(records),
        _not_available(records),
        _left_out(said.get("left_out", ())),
        _failed(records),
    ]
    head = f"{said['cores']} cores, {said['memory_gb']} GB, {said['system']}, {said['began']}"
    return "\n\n".join([head, *filter(None, parts), goals_table(records)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and the range if there is one.

    >>> spread([3.0, 1.0, 2.0]), spread([1.5])
    ('2.00 (1.00-3.00)', '1.50')
    """
    middle = f"{median(values):.{digits}f}"
    if min(values) == max(values):
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def title(name: str) -> str:
    """An engine's name in tables and charts."""
    try:
        return engines.load(name).title
    except BenchError:
        return name


def _catchup(records: Sequence[Record], devices: int) -> str:
    chosen = Chosen(records, devices)
    warm, cold = chosen.values(us_a_tick, warm=True), chosen.values(us_a_tick, warm=False)
    with_start = chosen.values(lambda r: (r["cpu_s"] + r["before_cpu_s"]) / r["ticks"] * 1e6, warm=False)
    walls = chosen.values(lambda r: r["ticks"] / r["wall_s"], warm=True)
    peaks = chosen.values(lambda r: r["peak_bytes"] / 1e6, warm=True)
    rows = [
        (
            title(name),
            str(len(values)),
            spread(values),
            times(values, warm.get(OURS)),
            spread(cold[name]),
            spread(with_start[name]),
            f"{devices / median(values) * 1e6:,.0f}",
            spread([wall / 1e3 for wall in walls[name]], 1),
            spread(peaks[name], 0),
            str(engines.load(name).lines()) if name in engines.names() else "",
        )
        for name, values in sorted(warm.items(), key=lambda item: median(item[1]))
    ]
    if not rows:
        return ""
    head = [
        "engine",
        "rounds",
        "CPU µs a tick, last pass",
        "× ours",
        "first pass",
        "first pass with start",
        "readings a CPU second",
    ]
    head += ["thousand ticks a second of wall clock", "peak memory, MB", "lines of the job"]
    return f"### Catch-up, ticks of {devices} device(s)\n\n" + table(head, rows)


def _processes(records: Sequence[Record]) -> str:
    rows = []
    for devices in (11, 1):
        one, two = (Chosen(records, devices, number, "processes") for number in (1, 2))
        for figure, name in ((lambda r: r["wall_s"], "wall clock"), (lambda r: r["cpu_s"], "CPU")):
            before, after = one.values(figure, warm=False), two.values(figure, warm=False)
            for engine in after.keys() & before.keys():
                ratio = median(before[engine]) / median(after[engine])
                figures = spread(before[engine]), spread(after[engine]), f"{ratio:.2f}"
                rows.append((title(engine), str(devices), name, *figures))
    head = ("engine", "devices", "seconds of", "1 process", "2 processes", "1 by 2")
    return "### Processes\n\n" + table(head, rows) if rows else ""


def _latency(records: Sequence[Record]) -> str:
    found = [r for r in counted(records, "latency") if "p50_s" in r]
    ours = {r["rate"]: [r["p99_s"]] for r in found if r["engine"] == OURS}
    rows = [
        (title(r["engine"]), f"{r['rate']:,}", *(f"{r[q]:.2f}" for q in ("p50_s", "p99_s", "p999_s")),
         times([r["p99_s"]], ours.get(r["rate"])), "yes" if r.get("kept_up", True) else "no", str(r["rows"]),
         f"{r['cores']:.2f}", f"{r['peak_bytes'] / 1e6:.0f}")
        for r in sorted(found, key=lambda r: (r["rate"], r["p99_s"]))
    ]  # fmt: skip
    columns = ("engine", "readings/s", "p50 s", "p99 s", "p99.9 s", "p99 × ours", "kept up", "windows", "cores used")
    return "### Latency\n\n" + table((*columns, "peak memory, MB"), rows) if rows else ""


def _sustained(records: Sequence[Record]) -> str:
    kept = defaultdict(list)
    for r in counted(records, "sustained"):
        kept[r["engine"]].append(r)
    steps = [
        (title(name), f"{max((r['rate'] for r in of if r['kept_up']), default=0):,}", f"{max(r['rate'] for r in of):,}")
        for name, of in kept.items()
    ]
    return "### Sustained rate\n\n" + table(("engine", "readings/s kept up", "tried"), steps) if steps else ""


def _recovery(records: Sequence[Record]) -> str:
    found = sorted(counted(records, "recovery"), key=lambda r: r["first_row_s"] or 1e9)
    ours = [r["first_row_s"] for r in found if r["engine"] == OURS and r["first_row_s"]]
    kills = [
        (title(r["engine"]), f"{r['rate']:,}", *(_seconds(r[name]) for name in ("ready_s", "first_row_s", "in_time_s")),
         times([r["first_row_s"]], ours) if r["first_row_s"] else "")
        for r in found
    ]  # fmt: skip
    head = ("engine", "readings/s", "start to ready, s", "kill to first new row, s", "kill to rows in time, s")
    return "### Recovery from kill -9\n\n" + table((*head, "first new row × ours"), kills) if kills else ""


def _not_available(records: Sequence[Record]) -> str:
    """What an engine cannot do, with the reason; one row for what is the same at several rates."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for r in records:
        if r["identity"] == "n/a":
            what = f"{r['rate']:,} readings/s" if "rate" in r else f"ticks of {r['devices']}" if "devices" in r else ""
            place = found[title(r["engine"]), r["measure"], " ".join(r["why"]).partition("\n")[0]]
            place.extend([what] if what not in place else [])
    rows = [(name, measure, ", ".join(filter(None, of)), why) for (name, measure, why), of in found.items()]
    return "### n/a\n\n" + table(("engine", "measure", "of", "why"), rows) if rows else ""


def _left_out(names: Sequence[str]) -> str:
    """What there was no time for."""
    return "### Not measured: the time was over\n\n" + "\n".join(f"- {name}" for name in names) if names else ""


def times(values: Sequence[float], ours: Sequence[float] | None) -> str:
    """How many times as much as ours, by medians; empty if ours is not known.

    >>> times([3.0, 2.0, 4.0], [2.0]), times([1.0], None)
    ('1.50', '')
    """
    return f"{median(values) / median(ours):.2f}" if ours else ""


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _failed(records: Sequence[Record]) -> str:
    bad = [r for r in records if r["identity"] not in SOUND]
    lines = [f"- {r['engine']}, {r['measure']}: {r['identity']}: {'; '.join(r.get('why', [])[:3])}" for r in bad]
    return "### Not charted\n\n" + "\n".join(lines) if lines else ""


# --- goals ------------------------------------------------------------------------------------------------------------

RATIOS = {
    11: {"flink_expert": 1.1, "flink_usual": 3, "kafka_streams": 2.5, "spark": 6, "bytewax_stock": 20, "quix": 60},
    1: {"flink_expert": 1.2, "flink_usual": 2, "kafka_streams": 3},
}


def goals(records: Sequence[Record], ours: str = OURS) -> list[tuple[str, str, str, bool | None]]:
    """Goal, bound, measured, whether it was reached (None: not measured)."""
    found: list[tuple[str, str, str, bool | None]] = []
    for devices, ratios in RATIOS.items():
        values = Chosen(records, devices).values(us_a_tick, warm=True)
        mine = median(values[ours]) if ours in values else None
        for peer, bound in ratios.items():
            ratio = median(values[peer]) / mine if mine and peer in values else None
            found.append(_goal(f"ticks of {devices}, per core, against {title(peer)}", "≥", bound, ratio, " ×"))
        if devices == 11:
            rate = devices / mine if mine else None
            found.append(_goal("ticks of 11, per core", "≥", 3, rate, " M readings/s"))
        share = median(values[CEILING]) / mine * 100 if mine and CEILING in values else None
        found.append(_goal(f"ticks of {devices}, share of the consume ceiling", "≥", 50, share, " %"))
    wall = [Chosen(records, 11, n, "processes").values(lambda r: r["wall_s"], warm=False).get(ours) for n in (1, 2)]
    scale = median(wall[0]) / median(wall[1]) if wall[0] and wall[1] else None
    found.append(_goal("2 processes against 1, wall clock", "≥", 1.7, scale, " ×"))
    back = [r["first_row_s"] for r in counted(records, "recovery") if r["engine"] == ours and r["first_row_s"]]
    found.append(
        _goal("kill -9 at 50 k readings/s to the first new row", "≤", 10, median(back) if back else None, " s")
    )
    return found


def _goal(name: str, sign: str, bound: float, got: float | None, unit: str) -> tuple[str, str, str, bool | None]:
    reached = None if got is None else got >= bound if sign == "≥" else got <= bound
    return name, f"{sign} {bound:g}{unit}", "-" if got is None else f"{got:.2f}{unit}", reached


def goals_table(records: Sequence[Any]) -> str:
    """The goals as Markdown."""
    words = {True: "yes", False: "no", None: "not measured"}
    rows = [(name, bound, got, words[reached]) for name, bound, got, reached in goals(records)]
    return "### Goals\n\n" + table(("measure", "goal", "measured", "reached"), rows)
