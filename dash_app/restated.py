"""Restatements of one run as a table: which prices changed after their rows had been shown."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from .text import digits, duration, inert, mass, moment

MOST = 50
"""Rows shown, the newest; the API has all."""
_WORDS = {"Zone", "Reason"}
_NAMES = ("Restated", "Zone", "From", "Length", "g/kWh", "CO₂e", "Change", "Reason")


def restatements(rows: Sequence[Mapping[str, Any]], zone: dt.tzinfo) -> list[Any]:
    """The newest restatements first; nothing if there are none."""
    if not rows:
        return []
    newest = sorted(rows, key=lambda row: (-row["at"], row["valid_from"], row["restatement_id"]))[:MOST]
    return [
        html.H2("Restatements"),
        html.Div(
            html.Table(
                [
                    html.Thead(html.Tr([html.Th(name, scope="col", className=_kind(name)) for name in _NAMES])),
                    html.Tbody([_row(row, zone) for row in newest]),
                ],
                className="table",
            ),
            className="table-frame",
            tabIndex=0,
            **{"aria-label": "Restatements", "role": "region"},
        ),
    ]


def _row(row: Mapping[str, Any], zone: dt.tzinfo) -> html.Tr:
    old, new = row["old_emissions_g"], row["new_emissions_g"]
    grams = f"{' '.join(mass(old))} → {' '.join(mass(new))}" if row["applied"] else "not applied: too old"
    values = (
        inert(row["zone"]),
        moment(row["valid_from"], zone),
        duration(row["valid_to"] - row["valid_from"]),
        f"{digits(row['old_g_per_kwh'])} → {digits(row['new_g_per_kwh'])}",
        grams,
        _difference(old, new),
        inert(row["reason"]),
    )
    cells = [html.Td(value, className=_kind(name)) for name, value in zip(_NAMES[1:], values, strict=True)]
    return html.Tr([html.Th(moment(row["at"], zone), scope="row"), *cells])


def _kind(name: str) -> str:
    """Columns of words begin at the left, numbers end at the right."""
    return "words" if name in _WORDS else ""


def _difference(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return ""
    return f"{'−' if new < old else '+'}{' '.join(mass(abs(new - old)))}"
