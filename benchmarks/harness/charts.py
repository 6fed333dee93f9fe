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
from .measures import CEILING, OURS, Record
from .report import Chosen, Values, counted, title, us_a_tick

TEXT = "#7d8590"
GREEN, BLUE, AMBER = "#2da44e", "#6e7fa8", "#b08800"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kappawatt",
    "font.family": "sans-serif",
    "font.size": 11,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), TEXT),
}


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars, the best on top: a value with its range for each engine; *pale* ones behind them.

    under: What was measured and how, below the bars. more: The greatest is the best.
    """

    file: str
    heading: str
    under: str
    values: Values
    pale: Values
    log: bool = False
    digits: int = 1
    more: bool = False


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
        heading = f"CPU of a tick of {devices} device{'s' if devices > 1 else ''} in a catch-up, µs: less is better"
        under = f"last pass of a process (pale: first pass), without the broker; log scale; {_rounds(warm)}"
        found.append(Bars(f"catchup-{devices}.svg", heading, under, warm, cold, log=True, digits=2))
        if devices == 11:
            peaks = chosen.values(lambda record: record["peak_bytes"] / 1e6, warm=True)
            under = f"all processes of an engine, ticks of 11 devices; {_rounds(peaks)}"
            found.append(
                Bars("memory.svg", "Peak memory in a catch-up, MB: less is better", under, peaks, {}, digits=0)
            )
            wall = chosen.values(lambda record: record["readings"] / record["wall_s"] / 1e6, warm=True)
            heading = "Million readings a second of wall clock: more is better"
            under = f"last pass, ticks of 11 devices, engine and broker on one machine; {_rounds(wall)}"
            found.append(Bars("wall.svg", heading, under, wall, {}, digits=2, more=True))
    return found + _more_bars(records)


def _more_bars(records: Sequence[Record]) -> list[Bars]:
    kills = counted(records, "recovery")
    rates = " and ".join(f"{rate:,}" for rate in sorted({record["rate"] for record in kills}))
    back = {record["engine"]: [record["first_row_s"]] for record in kills if record["first_row_s"] is not None}
    ready = {record["engine"]: [record["ready_s"]] for record in kills}
    measured = {record["engine"] for record in counted(records, "catchup")} & set(engines.names()) - {CEILING, OURS}
    lines = {name: [float(engines.load(name).lines())] for name in sorted(measured)}
    under = f"whole tree killed amid {rates} readings/s, started again at once; one run each"
    said = "without comments; kappawatt's job is the product itself and not in here"
    return [
        Bars("recovery.svg", "From kill -9 to the first new row, s: less is better", under, back, {}),
        Bars("start.svg", "From start to ready, s: less is better", "of the process; one run each", ready, {}),
        Bars("lines.svg", "Lines of the job: less is better", said, lines, {}, digits=0),
    ]


def _rounds(values: Values) -> str:
    """How many values stand behind a bar."""
    numbers = sorted({len(each) for each in values.values()}) or [0]
    if numbers == [1]:
        return "one round"
    return f"median and range of {numbers[0]}{f' to {numbers[-1]}' if numbers[1:] else ''} rounds"


def _colour(name: str) -> str:
    return GREEN if name == OURS else AMBER if name == CEILING else BLUE


def _draw_bars(bars: Bars, folder: Path) -> Path:
    names = sorted(bars.values, key=lambda name: median(bars.values[name]), reverse=not bars.more)
    figure, axes = plt.subplots(figsize=(8, 1.1 + 0.42 * len(names)))
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
        axes.text(beside, at, f"{middle:,.{bars.digits}f}{_times_ours(bars.values, name)}", va="center")
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.set_title(bars.heading, loc="left", fontsize=12)
    if bars.log:
        _log_scale(axes)
        axes.set_xlim(left=min(min(values) for values in bars.values.values()) / 2)
    axes.margins(x=0.3)
    return _save(figure, axes, folder / bars.file, bars.under)


def _times_ours(values: Values, name: str) -> str:
    """The ratio to ours, where ours is among the bars."""
    if name == OURS or not median(values.get(OURS, [0.0])):
        return ""
    return f"  ({median(values[name]) / median(values[OURS]):.2g} × ours)"


def _draw_latency(records: Sequence[Record], rates: Sequence[int], folder: Path) -> Path:
    """From p50 by p99 to p99.9, a line an engine, a panel a rate; the best p99 on top."""
    found = [record for record in counted(records, "latency") if "p50_s" in record]
    lacking = {(r["engine"], r["rate"]) for r in records if r["measure"] == "latency" and r["identity"] == "n/a"}
    known: dict[str, list[float]] = {}
    for record in found:
        known.setdefault(record["engine"], []).append(record["p99_s"])
    # An engine that lacks rates stands behind those that have all.
    names = sorted(known, key=lambda name: (-len(known[name]), median(known[name])), reverse=True)
    figure, panels = plt.subplots(
        1, len(rates), figsize=(8.6, 1.2 + 0.42 * len(names)), sharex=True, sharey=True, squeeze=False
    )
    for axes, rate in zip(panels[0], rates, strict=True):
        for record in (each for each in found if each["rate"] == rate):
            at, colour = names.index(record["engine"]), _colour(record["engine"])
            values = [record[name] for name in ("p50_s", "p99_s", "p999_s")]
            axes.plot(values, [at] * 3, color=colour, linewidth=2, marker="|", markersize=9)
            axes.plot(values[1], at, color=colour, marker="o", markersize=5)
        for name in (each for each in names if (each, rate) in lacking):
            axes.text(0.03, names.index(name), "n/a", va="center", transform=axes.get_yaxis_transform())
        _log_scale(axes)
        axes.set_title(f"{rate:,} readings/s", loc="left", fontsize=11)
        axes.set_yticks(range(len(names)), [title(name) for name in names])
        _frame(axes)
    under = (
        "s from the last tick of a 5-s window to its whole row in Kafka, one run each: p50 |, p99 ●, p99.9 |; log scale"
    )
    return _save(figure, panels[0][0], folder / "latency.svg", under)


def _log_scale(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=TEXT, alpha=0.2)
    axes.set_axisbelow(True)


def _save(figure: Figure, axes: Axes, path: Path, under: str) -> Path:
    _frame(axes)
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    figure.text(0.012, 0.1 / figure.get_figheight(), under, fontsize=9.5)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)
    return path
