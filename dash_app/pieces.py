"""Parts that both pages are made of."""

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html

from .queries import Sums
from .text import MISSING, energy, mass, money, percent, scaled

TICK_MS = 1_000


def pulse(prefix: str) -> html.Div:
    """What makes a page live: a tick a second, the question it leads to, and the beat that says it was answered."""
    return html.Div(
        [
            dcc.Interval(id=f"{prefix}-tick", interval=TICK_MS),
            dcc.Store(id=f"{prefix}-ask"),
            dcc.Store(id=f"{prefix}-beat"),
            dcc.Store(id=f"{prefix}-seen"),
            html.Div(
                [
                    html.Div(
                        notice(
                            "No answer from the page's server",
                            "These are the last numbers that arrived. They go on by themselves as soon as "
                            "`kappawatt dash` answers again.",
                            kind="error",
                        ),
                        className="if-dead",
                    ),
                    html.Div(
                        notice(
                            "Waiting for an answer",
                            "The store is slow, or the server has said on its terminal why not.",
                        ),
                        className="if-slow",
                    ),
                ],
                id=f"{prefix}-offline",
                className="offline",
            ),
        ]
    )


def pulse_callbacks(app: Dash, prefix: str) -> None:
    """Connect a pulse: a tick asks only when the last question was answered, or given up; three silent ticks show it.

    Without this, answers slower than a tick would never be shown: Dash drops an answer once the next was asked for.
    """
    app.clientside_callback(
        ClientsideFunction("kw", f"ask_{prefix}"),
        Output(f"{prefix}-ask", "data"),
        Output(f"{prefix}-offline", "className"),
        Input(f"{prefix}-tick", "n_intervals"),
        State(f"{prefix}-beat", "data"),
        prevent_initial_call=True,
    )


def notice(title: str, text: str, *, kind: str = "warning", identity: str | None = None) -> html.Div:
    """A banner; *kind* is `info`, `warning` or `error`. Words between backticks are shown as code."""
    more: dict[str, Any] = {"id": identity} if identity else {}
    return html.Div(
        [html.Strong(title), html.Div(prose(text))], className=f"notice notice-{kind}", role="status", **more
    )


def prose(text: str) -> html.Span:
    """Text in which words between backticks are code."""
    parts = text.split("`")
    return html.Span([html.Code(part) if place % 2 else part for place, part in enumerate(parts)])


def card(
    label: str, value: str, unit: str, *below: Any, hint: str | None = None, identity: str | None = None
) -> html.Div:
    """One number with its unit and what is to be known about it."""
    more: dict[str, Any] = {"id": identity} if identity else {}
    if hint:
        more["title"] = hint
    missing = " missing" if value == MISSING else ""
    return html.Div(
        [
            html.Div(label, className="card-label"),
            html.Div(
                [
                    html.Span(value, className="card-value"),
                    html.Span("" if value == MISSING else unit, className="card-unit"),
                ]
            ),
            html.Div(list(below), className="card-below"),
        ],
        className=f"card{missing}",
        **more,
    )


def skeletons(count: int, style: str = "cards") -> html.Div:
    """As many grey cards as there will be numbers, of the same height."""
    return html.Div([html.Div(className="card skeleton") for _ in range(count)], className=style)


def simulated_badge(text: str = "simulated") -> html.Span:
    """Marks numbers that no device has drawn."""
    return html.Span(text, className="tag")


def status_badge(status: str) -> html.Span:
    """The state of a run."""
    known = status if status in ("running", "succeeded", "failed", "lost") else "other"
    return html.Span(status, className=f"state state-{known}")


def fleet_cards(found: Sums) -> html.Div:
    """The totals of the runs that the list shows."""
    number, unit = energy(found.energy_uj)
    grams, mass_unit = mass(found.emissions_g)
    litres, litre = scaled(found.water_l, "L")
    costs = " + ".join(money(amount, currency) for currency, amount in found.costs) or MISSING
    running = f"{found.running:,} running" if found.runs else ""
    simulated = [simulated_badge(f"{found.simulated:,} simulated")] if found.simulated else []
    estimated, unpriced = part(found.estimated_uj, found.energy_uj), part(found.unpriced_uj, found.energy_uj)
    exact, left_out = _exact(found.energy_uj), noted(unpriced or None, "of the energy unpriced")
    return html.Div(
        [
            card("Runs", f"{found.runs:,}", "", running, *simulated, identity="sum-runs"),
            card("Energy", number, unit, noted(estimated, "estimated"), hint=exact, identity="sum-energy"),
            card("Emissions", grams, f"{mass_unit} CO₂e", left_out, identity="sum-emissions"),
            card("Water", litres, litre, identity="sum-water"),
            card("Cost", costs, "", identity="sum-cost"),
        ],
        className="cards cards-5",
    )


def part(amount: int | None, whole: int | None) -> float | None:
    """A share of one; None if it is unknown or there is nothing to share."""
    return None if amount is None or not whole else amount / whole


def noted(share: float | None, what: str) -> str:
    """A share in words, or nothing if it is unknown.

    >>> noted(0.25, "estimated"), noted(None, "estimated")
    ('25.0 % estimated', '')
    """
    return "" if share is None else f"{percent(share)} {what}"


def _exact(energy_uj: int | None) -> str | None:
    return None if energy_uj is None else f"exactly {energy_uj:,} µJ"
