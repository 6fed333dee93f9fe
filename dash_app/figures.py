"""Rows to figures: pure functions that give Plotly figures as plain dictionaries, for a light or a dark page.

Names from outside never reach a figure: Plotly would render their markup.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kappawatt.units import US_PER_S, kwh

from .look import FONT, LOOKS, Figure, Look
from .queries import MOST_POINTS, Curve, Run
from .text import fixed_zone, scaled, wall_clock, zone_label

PANEL_PX = 200
TOP_PX, BOTTOM_PX = 8, 52
_HEADING = 0.25
"""Part of a panel's height that is left free above it for its heading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One window as the curves draw it: clipped to the run, in µs."""

    start: int
    end: int
    row: Mapping[str, Any]

    def rate(self, amount: float | None, per_us: float) -> float | None:
        return None if amount is None else amount * per_us / (self.end - self.start)


def live(found: Run, curve: Curve, *, scheme: str, zone: dt.tzinfo) -> Figure:
    """Power, emission rate, cumulated totals and, if there are metrics, learning, one below the other on one axis.

    Zoom and hidden traces survive an update (`uirevision`). Powers and rates are means over the part of a window
    that the run covers; a window without samples is a gap, never zero.
    """
    look = LOOKS[scheme]
    steps = _steps(curve, found)
    offset = fixed_zone(found.last_us or 0, zone)
    panels = [_power(steps, curve, look), _rate(steps, look), _cumulated(steps, look)]
    if any(row["loss"] is not None or row["accuracy"] is not None for row in found.metrics):
        panels.append(_learning(found.metrics, look))
    label = f"time ({zone_label(found.last_us or 0, zone)})"
    return _stacked(panels, look, offset=offset, time_label=label, revision=found.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    heading: str
    traces: Sequence[Figure]
    right: Sequence[Figure] = ()
    """Traces on an axis of their own on the right."""
    zero: bool = True


def _steps(curve: Curve, found: Run) -> list[_Step]:
    first, last = found.total.get("first_start"), found.total.get("last_end")
    steps = []
    for row in curve.rows:
        start, end = row["window_start"], row["window_start"] + curve.window_us
        clipped = max(start, start if first is None else first), min(end, end if last is None else last)
        # Window and total may be one flush apart: an empty clip means that the total does not know the window yet.
        start, end = clipped if clipped[0] < clipped[1] else (start, end)
        steps.append(_Step(start=start, end=end, row=row))
    return steps


def _stairs(steps: Sequence[_Step], values: Iterable[float | None]) -> tuple[list[int], list[float | None]]:
    """Places (µs) and values of a line of shape `hv`: each value holds to the end of its step, a gap is a None."""
    x: list[int] = []
    y: list[float | None] = []
    end, held = 0, None
    for step, value in zip(steps, values, strict=True):
        if held is not None and (end < step.start or value is None):
            x += [end, end]
            y += [held, None]
        if value is not None:
            x.append(step.start)
            y.append(value)
        end, held = step.end, value
    if held is not None:
        x.append(end)
        y.append(held)
    return x, y


def _filled(steps: Sequence[_Step], values: Sequence[float | None], *, colour: str, **more: Any) -> list[Figure]:
    """A line over a filled area. The area is a trace of its own that goes down to zero in gaps: Plotly fills across
    the gaps of a line.
    """
    x, y = _stairs(steps, values)
    ground_x, ground_y = _grounded(x, y)
    line = more.pop("hovertemplate")
    fill: Figure = {key: more.pop(key) for key in ("fillcolor", "fillpattern") if key in more}
    group = {"type": "scatter", "mode": "lines", "legendgroup": more["name"], "showlegend": False}
    return [
        {
            **group, **more, **fill, "x": ground_x, "y": ground_y, "fill": "tozeroy", "hoverinfo": "skip",
            "line": {"color": colour, "width": 0, "shape": "hv"},
        },
        {**group, "name": more["name"], "x": x, "y": y, "line": _pen(colour, "hv"), "hovertemplate": line},
    ]  # fmt: skip


def _grounded(x: Sequence[int], y: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """The same stairs with each gap at zero, from its begin to the next value."""
    places: list[int] = []
    values: list[float] = []
    for place, value in zip(x, y, strict=True):
        if values and values[-1] == 0 and value is not None and place > places[-1]:
            places.append(place)
            values.append(0.0)
        places.append(place)
        values.append(value or 0.0)
    return places, values


def _power(steps: Sequence[_Step], curve: Curve, look: Look) -> _Panel:
    whole = [step.rate(step.row["energy_uj"], 1.0) for step in steps]
    known = [step.rate(step.row["energy_uj"] - step.row["estimated_uj"], 1.0) for step in steps]
    # Only where there is something to estimate, and something measured: elsewhere the other curve says it all.
    estimated = [total if step.row["estimated_uj"] else None for step, total in zip(steps, whole, strict=True)]
    measured = [part if part or not total else None for part, total in zip(known, whole, strict=True)]
    traces = []
    if any(value is not None for value in estimated):
        traces += _filled(
            steps, estimated, name="estimated", colour=look.estimated, showlegend=True,
            fillpattern=_hatch(look.estimated, look.estimated_fill), hovertemplate="%{y:.4~g} W, estimates included",
        )  # fmt: skip
    if any(value is not None for value in measured):
        traces += _filled(
            steps, measured, name="measured", colour=look.measured, showlegend=True, fillcolor=look.measured_fill,
            hovertemplate="%{y:.4~g} W measured",
        )  # fmt: skip
    if curve.window_us > 5 * US_PER_S:
        traces.append(_peaks(steps, look))
    return _Panel(heading="<b>Power</b>, W", traces=traces)


def _peaks(steps: Sequence[_Step], look: Look) -> Figure:
    x, y = _stairs(steps, [step.row["power_w_max"] for step in steps])
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": "highest 5 s", "showlegend": True,
        "line": {**_pen(look.quiet, "hv"), "dash": "dot", "width": 1}, "hovertemplate": "%{y:.4~g} W highest 5 s",
    }  # fmt: skip


def _rate(steps: Sequence[_Step], look: Look) -> _Panel:
    values = [step.rate(step.row["emissions_g"], 3_600 * US_PER_S) for step in steps]
    kinds = {step.row["intensity_kind"] for step in steps if step.row["intensity_kind"]}
    pattern = {} if kinds <= {"actual"} else {"fillpattern": _hatch(look.emissions, look.emissions_fill)}
    traces = _filled(
        steps, values, name="emission rate", colour=look.emissions, fillcolor=look.emissions_fill,
        hovertemplate="%{y:.4~g} g CO₂e per hour", **pattern,
    )  # fmt: skip
    note = "" if kinds <= {"actual"} else f" · {' and '.join(sorted(kinds))} intensity"
    return _Panel(heading=f"<b>Emission rate</b>, g CO₂e/h{note}", traces=traces)


def _cumulated(steps: Sequence[_Step], look: Look) -> _Panel:
    energy_uj, emissions_g = 0, 0.0
    energies: list[float] = [0.0]
    masses: list[float | None] = [0.0]
    for step in steps:
        energy_uj += step.row["energy_uj"]
        emissions_g += step.row["emissions_g"] or 0.0
        energies.append(kwh(energy_uj) * 1e3)
        masses.append(None if step.row["emissions_g"] is None else emissions_g)
    x = [steps[0].start, *(step.end for step in steps)] if steps else []
    energy_factor, energy_unit = _unit(energies[-1], "Wh")
    mass_factor, mass_unit = _unit(emissions_g, "g")
    base = {"type": "scatter", "mode": "lines", "x": x, "showlegend": False}
    energy = {
        **base, "y": [value * energy_factor for value in energies][: len(x)], "name": "energy", "line": _pen(look.ink),
        "hovertemplate": f"%{{y:.4~g}} {energy_unit} so far",
    }  # fmt: skip
    if all(step.row["emissions_g"] is None for step in steps):
        return _Panel(heading=f"<b>So far</b>, {energy_unit}", traces=[energy])
    emissions = {
        **base, "y": [None if grams is None else grams * mass_factor for grams in masses], "name": "emissions",
        "line": {"color": look.emissions, "width": 0}, "fill": "tozeroy", "fillcolor": look.emissions_fill,
        "hovertemplate": f"%{{y:.4~g}} {mass_unit} CO₂e so far",
    }  # fmt: skip
    heading = f"<b>So far</b>, {mass_unit} CO₂e (area) · {energy_unit} (line, right)"
    return _Panel(heading=heading, traces=[emissions], right=[energy])


def _learning(metrics: Sequence[Mapping[str, Any]], look: Look) -> _Panel:
    def points(name: str, label: str, pen: Figure) -> list[Figure]:
        known = thin([(row["at"], row[name]) for row in metrics if row[name] is not None and math.isfinite(row[name])])
        if not known:
            return []
        return [
            {
                "type": "scatter", "mode": "lines+markers" if len(known) < 200 else "lines",
                "x": [at for at, _ in known], "y": [value for _, value in known], "name": label, "line": pen,
                "marker": {"size": 5}, "hovertemplate": f"%{{y:.4~g}} {label}", "showlegend": False,
            }
        ]  # fmt: skip

    loss = points("loss", "loss", _pen(look.learning))
    accuracy = points("accuracy", "accuracy", {**_pen(look.quiet), "dash": "dash"})
    if not loss:
        return _Panel(heading="<b>Learning</b>, accuracy", traces=accuracy, zero=False)
    heading = "<b>Learning</b>, loss" + (" · accuracy (right, dashed)" if accuracy else "")
    return _Panel(heading=heading, traces=loss, right=accuracy, zero=False)


def thin(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """At most *most* of *points*, in order: of each stretch the least and the greatest, so that a spike stays."""
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    kept: list[tuple[int, float]] = []
    for number in range(stretches):
        part = points[number * len(points) // stretches : (number + 1) * len(points) // stretches]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def _stacked(panels: Sequence[_Panel], look: Look, *, offset: dt.timezone, time_label: str, revision: str) -> Figure:
    """All panels on one x axis, so that zoom and hover go through all of them."""
    data: list[Figure] = []
    axes: Figure = {}
    headings = []
    share = 1 / len(panels)
    for number, panel in enumerate(panels):
        left, right = _axis_number(2 * number + 1), _axis_number(2 * number + 2)
        top = 1 - number * share - share * _HEADING
        mode = "tozero" if panel.zero else "normal"
        axes[f"yaxis{left}"] = _axis(look, domain=[1 - (number + 1) * share, top], rangemode=mode)
        if panel.right:
            axes[f"yaxis{right}"] = _axis(look, overlaying=f"y{left}", side="right", showgrid=False, rangemode=mode)
        data += [{**trace, "xaxis": "x", "yaxis": f"y{left}"} for trace in panel.traces]
        data += [{**trace, "xaxis": "x", "yaxis": f"y{right}"} for trace in panel.right]
        headings.append(_heading(panel.heading, top, look))
    clocks = {x: wall_clock(x, offset) for x in {x for trace in data for x in trace["x"]}}
    for trace in data:
        # As text: Plotly has no zones, and would shift numbers by the offset that the browser has today.
        trace["x"] = [clocks[x] for x in trace["x"]]
        # What is hidden stays hidden when another curve joins before it.
        trace["uid"] = f"{trace['name']}-{trace.get('fill', 'line')}".replace(" ", "-")
    title = {"text": time_label, "standoff": 8, "font": {"size": 12}}
    axes["xaxis"] = _axis(look, type="date", anchor=f"y{_axis_number(2 * len(panels) - 1)}", title=title, tickangle=0)
    return {"data": data, "layout": {**_layout(look, revision, len(panels)), **axes, "annotations": headings}}


def _axis_number(number: int) -> str:
    """Plotly calls the first axis `y`, the others `y2`, `y3` …"""
    return "" if number == 1 else str(number)


def _layout(look: Look, revision: str, panels: int) -> Figure:
    clear = "rgba(0,0,0,0)"
    return {
        "height": height_px(panels),
        "margin": {"l": 52, "r": 52, "t": TOP_PX, "b": BOTTOM_PX},
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"family": FONT, "size": 12, "color": look.quiet},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": look.card, "bordercolor": look.grid, "font": {"color": look.ink}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "bgcolor": clear},
        "modebar": {"bgcolor": clear, "color": look.quiet, "activecolor": look.ink},
        "dragmode": "zoom",
        "uirevision": revision,
    }


def height_px(panels: int) -> int:
    """Height of a figure of so many panels."""
    return PANEL_PX * panels + TOP_PX + BOTTOM_PX


def _axis(look: Look, **more: Any) -> Figure:
    return {
        "gridcolor": look.grid, "linecolor": look.grid, "zerolinecolor": look.grid, "tickfont": {"color": look.quiet},
        "automargin": False, "tickmode": "auto", "nticks": 5, **more,
    }  # fmt: skip


def _heading(text: str, y: float, look: Look) -> Figure:
    return {
        "text": text, "xref": "paper", "yref": "paper", "x": 0, "xshift": -44, "yshift": 7, "y": y, "xanchor": "left",
        "yanchor": "bottom", "showarrow": False, "align": "left", "font": {"color": look.ink, "size": 13},
    }  # fmt: skip


def _pen(colour: str, shape: str = "linear") -> Figure:
    return {"color": colour, "width": 1.5, "shape": shape}


def _hatch(colour: str, ground: str) -> Figure:
    return {"shape": "/", "fgcolor": colour, "bgcolor": ground, "fgopacity": 0.55, "size": 7, "solidity": 0.12}


def _unit(greatest: float, unit: str) -> tuple[float, str]:
    """Factor and unit with the prefix that suits the greatest value of an axis."""
    shown = scaled(greatest, unit)[1] if greatest else unit
    factor = {"m": 1e3, "k": 1e-3, "M": 1e-6, "G": 1e-9}.get(shown.removesuffix(unit), 1.0)
    return factor, shown
