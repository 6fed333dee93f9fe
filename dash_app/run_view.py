"""One run as text, cards and tables: rows in, components out; no store, no clock."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from kappawatt.units import US_PER_S, kwh

from .pieces import card, noted, notice, part, simulated_badge, status_badge
from .queries import Curve, Run
from .text import MISSING, clock, digits, duration, energy, inert, mass, moment, money, percent, scaled

_KIND_TEXT = {
    "actual": "actual: measured by the provider",
    "estimated": "estimated by the provider",
    "forecast": "forecast",
    "static": "static: one factor for the whole period",
}
_LEVEL_TEXT = {"zone": "its own zone", "country": "its country", "world": "the world's mean"}
_DEVICES = (
    ("gpu_uj", "GPU", "d-gpu"),
    ("cpu_uj", "CPU", "d-cpu"),
    ("memory_uj", "memory", "d-mem"),
    ("other_uj", "other", "d-other"),
)
_COVERAGE = "time with samples ÷ time of the run, over all hosts"
_META = ("user", "team", "project", "model", "framework", "dataset", "environment", "zone")


LOST = (
    "Nothing came of this run any more, and it never said that it stopped: its process or its host has died, or cannot "
    "reach the log. What arrives later is counted, and the run lives again."
)


def title(found: Run) -> str:
    """What the run is called."""
    if found.run_id.startswith("~") and not found.run_id.startswith("~/"):
        return f"Idle and unattributed on {inert(found.run_id[1:])}"
    return inert(found.run.get("name")) or inert(found.run_id)


def head(found: Run) -> list[Any]:
    """Name, state and what is known of the run."""
    badges = [
        status_badge(
            inert(found.run.get("status")) or "running",
        )
    ]
    if found.simulated:
        badges.append(simulated_badge())
    known = [(name, inert(found.run.get(name))) for name in _META]
    return [
        dcc.Link("← Runs", href="/", className="back"),
        html.Div([html.H1(title(found)), *badges], className="run-title"),
        html.Dl(
            [
                html.Div([html.Dt(name), html.Dd(value)])
                for name, value in [("run id", inert(found.run_id)), *known]
                if value
            ],
            className="meta",
        ),
    ]


def unknown(run_id: str) -> list[Any]:
    """The page of a run that the store does not know."""
    return [
        dcc.Link("← Runs", href="/", className="back"),
        html.Div(
            [
                html.H1("Unknown run"),
                html.P(["The store has no run ", html.Code(inert(run_id) or "(no id)"), "."]),
                html.P(
                    "A run appears a second or two after its first sample. "
                    "If it has just begun, this page will show it by itself."
                ),
                html.P(["To see the runs there are: ", html.Code("kappawatt ls")]),
            ],
            className="empty",
            id="run-unknown",
        ),
    ]


def notices(found: Run, *, now_us: int, zone: dt.tzinfo, log_us: int | None) -> list[Any]:
    """What a reader must know before believing the numbers."""
    made = []
    if not found.total:
        title_ = "No energy yet" if found.run.get("status") == "running" else "No energy"
        text = "The run has announced itself, but none of its samples has arrived."
        made.append(notice(title_, text, kind="info", identity="run-no-energy"))
    silent = found.silent_us(now_us)
    if silent is not None:
        heard = now_us - silent
        title_ = f"Flow down or stalled – last data {clock(heard, now_us, zone)}"
        made.append(notice(title_, _cause(heard, silent, log_us), identity="run-stale"))
    if found.run.get("status") == "lost":
        made.append(
            notice(f"Lost – last heard of {clock(found.run['last_seen'], now_us, zone)}", LOST, identity="run-lost")
        )
    if found.simulated:
        text = "A simulator made these numbers; no device drew this power."
        made.append(notice("Simulated run", text, kind="info", identity="run-simulated"))
    unpriced = part(found.total.get("unpriced_uj"), found.total.get("energy_uj"))
    return [*made, _unpriced(found, unpriced)] if unpriced else made


def _unpriced(found: Run, share: float) -> Any:
    number, unit = energy(found.total["unpriced_uj"])
    return notice(
        f"{number} {unit} ({percent(share)}) of the energy has no carbon intensity",
        "Emissions, water and cost leave it out: nothing is known for zone "
        f"{inert(found.run.get('zone')) or MISSING} at that time. "
        "`kappawatt collect intensity` fetches it, and the numbers are then restated.",
        identity="run-unpriced",
    )


def _cause(heard_us: int, silent_us: int, log_us: int | None) -> str:
    """What the log says about a silence: samples that the store lacks, or none."""
    waited = f"No new data for {duration(silent_us)}. "
    if log_us is None:
        return waited + "Either the flow (`kappawatt flow`) is down, or the run ended without saying so."
    if log_us > heard_us + 5 * US_PER_S:
        return waited + "The log is ahead of the store: start the flow with `kappawatt flow`."
    return waited + "The log has nothing newer either: the run or its collector ended without saying so."


def cards(found: Run, zone: dt.tzinfo) -> html.Div:
    """The eight numbers of a run."""
    total = found.total
    energy_uj, span_us = total.get("energy_uj"), _span(total)
    number, unit = energy(energy_uj)
    grams, mass_unit = mass(total.get("emissions_g"))
    litres, litre = scaled(total.get("water_l"), "L")
    mean, watt = scaled(energy_uj / span_us if energy_uj is not None and span_us else None, "W")
    estimated = part(total.get("estimated_uj"), energy_uj)
    measured = None if estimated is None else 1 - estimated
    exact = None if energy_uj is None else f"exactly {energy_uj:,} µJ"
    peak = f"highest 5 s: {' '.join(scaled(total.get('power_w_max'), 'W'))}" if energy_uj is not None else ""
    start = moment(found.run.get("started_at") or found.first_us, zone)
    water_note = "no water factor known" if total.get("water_l") is None else ""
    cost_note = "no price known" if total.get("cost") is None else ""
    cost = money(total.get("cost"), total.get("currency"))
    bar = _bar(measured)
    return html.Div(
        [
            card("Energy", number, unit, _other_unit(energy_uj, unit), hint=exact, identity="kpi-energy"),
            card("Emissions", grams, f"{mass_unit} CO₂e", _intensity(total), identity="kpi-emissions"),
            card("Water", litres, litre, water_note, identity="kpi-water"),
            card("Cost", cost, "", cost_note, identity="kpi-cost"),
            card("Power", mean, f"{watt} mean", peak, identity="kpi-power"),
            card("Duration", duration(_length(found)), "", f"from {start}", identity="kpi-duration"),
            card("Coverage", percent(total.get("coverage")), "", _seen(total), hint=_COVERAGE, identity="kpi-coverage"),
            card("Measured", percent(measured), "", bar, noted(estimated, "estimated"), identity="kpi-measured"),
        ],
        className="cards",
    )


def _other_unit(energy_uj: int | None, unit: str) -> str:
    if energy_uj is None:
        return ""
    return " ".join(scaled(energy_uj / 1e6, "J")) if unit == "kWh" else f"{digits(kwh(energy_uj), 4)} kWh"


def facts(found: Run, curve: Curve, provider: str | None) -> list[Any]:
    """Where the numbers come from."""
    total, run = found.total, found.run
    kind, level = total.get("intensity_kind"), total.get("zone_level")
    rows = [
        ("Energy by device", _devices(total)),
        ("Energy by method", _methods(total)),
        ("Intensity", _intensity(total)),
        ("Intensity: kind", _KIND_TEXT.get(kind or "", kind or MISSING)),
        ("Intensity: zone", _zone(run.get("zone"), level)),
        ("Intensity: provider", inert(provider) or MISSING),
        ("PUE", digits(run.get("pue")) if run.get("pue") is not None else "1.0 (none given)"),
        (
            "Site water per IT energy (WUE)",
            f"{digits(run['wue_l_per_kwh'])} L/kWh" if run.get("wue_l_per_kwh") is not None else MISSING,
        ),
        ("Curves", _curves(found, curve)),
        ("Hardware", _hardware(run.get("hardware"))),
    ]
    return [
        html.H2("Where the numbers come from"),
        html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in rows], className="facts"),
    ]


def phases(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The phases of the run, the hungriest first; nothing if it has none."""
    if not rows:
        return []
    whole = sum(row["energy_uj"] for row in rows)
    ordered = sorted(rows, key=lambda row: (-row["energy_uj"], row["phase"]))
    names = ("Phase", "Time", "Energy", "Share", "Mean power", "Emissions")
    return [
        html.H2("Phases"),
        html.Div(
            html.Table(
                [
                    html.Thead(html.Tr([html.Th(name, scope="col") for name in names])),
                    html.Tbody([_phase(row, whole) for row in ordered]),
                ],
                className="table",
            ),
            className="table-frame",
            tabIndex=0,
            **{"aria-label": "Phases", "role": "region"},
        ),
    ]


def _phase(row: Mapping[str, Any], whole: int) -> html.Tr:
    mean_w = row["energy_uj"] / row["duration_us"] if row["duration_us"] else None
    values = (
        duration(row["duration_us"]),
        " ".join(energy(row["energy_uj"])),
        percent(part(row["energy_uj"], whole)),
        " ".join(scaled(mean_w, "W")),
        " ".join((*mass(row["emissions_g"]), "CO₂e")),
    )
    return html.Tr([html.Th(inert(row["phase"]), scope="row"), *(html.Td(value) for value in values)])


def _intensity(total: Mapping[str, Any]) -> str:
    value = total.get("intensity_g_per_kwh")
    if value is None:
        return "no carbon intensity known"
    return f"at {digits(value)} g/kWh, {total.get('intensity_kind') or 'unknown kind'}"


def _zone(zone: str | None, level: str | None) -> str:
    parts = (inert(zone), f"valued by {_LEVEL_TEXT[level]}" if level in _LEVEL_TEXT else "")
    return ", ".join(part for part in parts if part) or MISSING


def _seen(total: Mapping[str, Any]) -> str:
    parts = [
        f"{total['samples']:,} samples" if total.get("samples") is not None else "",
        _count(total.get("hosts"), "host"),
        _count(total.get("gpus"), "GPU"),
    ]
    return " · ".join(part for part in parts if part)


def _count(number: int | None, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else ""


def _bar(measured: float | None) -> Any:
    if measured is None:
        return ""
    return html.Div(
        html.Div(className="bar-measured", style={"width": f"{measured * 100:.2f}%"}),
        className="bar",
        **{"aria-hidden": "true"},
    )


def _methods(total: Mapping[str, Any]) -> Any:
    whole, estimated = total.get("energy_uj"), total.get("estimated_uj")
    if whole is None or estimated is None:
        return MISSING
    measured = " ".join(energy(whole - estimated))
    return f"{measured} measured, {' '.join(energy(estimated))} estimated (hatched in the curves)"


def _devices(total: Mapping[str, Any]) -> Any:
    whole = total.get("energy_uj")
    if not whole:
        return MISSING
    known = [(total[name], label, style) for name, label, style in _DEVICES if total[name]]
    return html.Div(
        [
            html.Div(
                [
                    html.Div(className=style, style={"width": f"{amount / whole * 100:.2f}%"})
                    for amount, _, style in known
                ],
                className="bar bar-devices",
                **{"aria-hidden": "true"},
            ),
            html.Div(
                [
                    html.Span([html.I(className=f"dot {style}"), f"{label} {percent(amount / whole)}"])
                    for amount, label, style in known
                ],
                className="key",
            ),
        ]
    )


def _curves(found: Run, curve: Curve) -> str:
    if not curve.rows:
        return MISSING
    late = found.total.get("energy_uj", 0) - sum(row["energy_uj"] for row in curve.rows)
    text = f"windows of {duration(curve.window_us)}"
    if curve.cut:
        return f"{text}; the beginning is left out"
    if late > 0 and found.run.get("status") != "running":
        return f"{text}; {' '.join(energy(late))} that came late are in the totals only"
    return text


def _hardware(text: str | None) -> str:
    try:
        devices = json.loads(text or "[]")
    except ValueError:
        return MISSING
    models = [inert(str(one.get("model") or one.get("device") or "")) for one in devices if isinstance(one, dict)]
    counted = {model: models.count(model) for model in sorted(set(models)) if model}
    return ", ".join(f"{count} × {model}" if count > 1 else model for model, count in counted.items()) or MISSING


def _span(total: Mapping[str, Any]) -> int | None:
    if total.get("first_start") is None or total.get("last_end") is None:
        return None
    return int(total["last_end"] - total["first_start"])


def _length(found: Run) -> int | None:
    first = found.run.get("started_at") or found.first_us
    last = found.run.get("ended_at") or max(
        (us for us in (found.last_us, found.run.get("last_seen")) if us is not None), default=None
    )
    return None if first is None or last is None else max(0, last - first)
