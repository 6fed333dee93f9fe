"""One chart a measure, as SVG without a background, in colours that can be read on white and on black."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from . import engines
from .measures import CEILING, Record
from .report import Chosen, Values, counted, title, us_a_tick

TEXT = "#7d8590"
OURS, PEER, ROOF = "#2da44e", "#6e7fa8", "#b08800"
NAME = "kappawatt"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kappawatt",
    "font.family": "sans-serif",
    "font.size": 11,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), TEXT),
}


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars: a value with its range for each engine; *pale* ones behind them."""

    file: str
    heading: str
    values: Values
    pale: Values
    log: bool = False
    digits: int = 1


def draw(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write the charts that the records have figures for."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        made = [_draw_bars(bars, folder) for bars in _all_bars(records) if bars.values]
        rates = sorted({record["rate"] for record in counted(records, "latency") if "p50_s" in record})
        return made + ([_draw_latency(records, rates, folder)] if rates else [])


def _all_bars(records: Sequence[Record]) -> list[Bars]:
    found = []
    for devices in (11, 1):
        chosen = Chosen(records, devices)
        warm, cold = chosen.values(us_a_tick, warm=True), chosen.values(us_a_tick, warm=False)
        heading = f"CPU µs a tick of {devices} device{'s' if devices > 1 else ''}, less is better (pale: first pass)"
        found.append(Bars(f"catchup-{devices}.svg", heading, warm, cold, log=True, digits=2))
        if devices == 11:
            peaks = chosen.values(lambda record: record["peak_bytes"] / 1e6, warm=True)
            found.append(Bars("memory.svg", "Peak memory of a catch-up, MB", peaks, {}, digits=0))
            wall = chosen.values(lambda record: record["readings"] / record["wall_s"] / 1e6, warm=True)
            found.append(
                Bars("wall.svg", "Million readings a second of wall clock, broker included", wall, {}, digits=2)
            )
    kills = counted(records, "recovery")
    back = {record["engine"]: [record["first_row_s"]] for record in kills if record["first_row_s"] is not None}
    found.append(Bars("recovery.svg", "From kill -9 to the first new row, s", back, {}))
    ready = {record["engine"]: [record["ready_s"]] for record in kills}
    found.append(Bars("start.svg", "From start to ready, s", ready, {}))
    measured = {record["engine"] for record in counted(records, "catchup")} - {CEILING}
    lines = {name: [float(engines.load(name).lines())] for name in sorted(measured & set(engines.names()))}
    return [*found, Bars("lines.svg", "Lines of the job", lines, {}, digits=0)]


def _colour(name: str) -> str:
    return OURS if name == NAME else ROOF if name == CEILING else PEER


def _draw_bars(bars: Bars, folder: Path) -> Path:
    names = sorted(bars.values, key=lambda name: median(bars.values[name]), reverse=True)
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.42 * len(names)))
    most = max(median(values) for values in (*bars.values.values(), *bars.pale.values()))
    for at, name in enumerate(names):
        values = bars.values[name]
        middle = median(values)
        if name in bars.pale:
            axes.barh(at, median(bars.pale[name]), color=_colour(name), alpha=0.35, height=0.7)
        error = [[middle - min(values)], [max(values) - middle]]
        axes.barh(at, middle, color=_colour(name), height=0.7, xerr=error, ecolor=TEXT, capsize=2)
        reach = max(max(values), median(bars.pale.get(name, values)))
        beside = reach * 1.06 if bars.log else reach + most * 0.02
        axes.text(beside, at, f"{middle:,.{bars.digits}f}", va="center")
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.set_title(bars.heading, loc="left", fontsize=12)
    if bars.log:
        _log_scale(axes)
    axes.margins(x=0.14)
    return _save(figure, axes, folder / bars.file)


def _draw_latency(records: Sequence[Record], rates: Sequence[int], folder: Path) -> Path:
    """From p50 by p99 to p99.9, a line an engine, a panel a rate."""
    found = [record for record in counted(records, "latency") if "p50_s" in record]
    names = sorted({record["engine"] for record in found}, key=lambda name: (name != NAME, name), reverse=True)
    figure, panels = plt.subplots(
        1, len(rates), figsize=(9, 1.1 + 0.42 * len(names)), sharex=True, sharey=True, squeeze=False
    )
    for axes, rate in zip(panels[0], rates, strict=True):
        for record in (each for each in found if each["rate"] == rate):
            at, colour = names.index(record["engine"]), _colour(record["engine"])
            values = [record[name] for name in ("p50_s", "p99_s", "p999_s")]
            axes.plot(values, [at] * 3, color=colour, linewidth=2, marker="|", markersize=9)
            axes.plot(values[1], at, color=colour, marker="o", markersize=5)
        _log_scale(axes)
        axes.set_title(f"{rate:,} readings/s", loc="left", fontsize=11)
        axes.set_yticks(range(len(names)), [title(name) for name in names])
        _frame(axes)
    figure.supxlabel("s from the last tick of a 5-s window to its whole row: p50 |, p99 ●, p99.9 |", fontsize=10)
    return _save(figure, panels[0][0], folder / "latency.svg")


def _log_scale(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=TEXT, alpha=0.2)
    axes.set_axisbelow(True)


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    _frame(axes)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)
    return path
