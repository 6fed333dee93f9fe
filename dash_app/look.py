"""How figures look: colours, letters, buttons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Figure = dict[str, Any]

GRAPH_CONFIG: Mapping[str, Any] = {
    # Plotly offers to send the chart to a server of its maker unless told not to.
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2, "filename": "kappawatt"},
}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours of one scheme: Okabe and Ito's palette (2008), which colour-blind people can tell apart."""

    ink: str
    quiet: str
    grid: str
    card: str
    measured: str
    measured_fill: str
    estimated: str
    estimated_fill: str
    emissions: str
    emissions_fill: str
    learning: str


LOOKS: Mapping[str, Look] = {
    "light": Look(
        ink="#1f2933", quiet="#52606d", grid="#e4e7eb", card="#ffffff",
        measured="#0072b2", measured_fill="#cfe4f2", estimated="#a86400", estimated_fill="#fdf1dc",
        emissions="#00795a", emissions_fill="#d3ece4", learning="#9b4f80",
    ),
    "dark": Look(
        ink="#e6e8eb", quiet="#a9b1ba", grid="#343a40", card="#1b1e23",
        measured="#56b4e9", measured_fill="#1d4259", estimated="#e69f00", estimated_fill="#33290f",
        emissions="#2fbf96", emissions_fill="#16453a", learning="#dd9cc4",
    ),
}  # fmt: skip


def blank(height: int) -> Figure:
    """A figure that shows nothing, on no ground: Plotly's own empty one is white."""
    clear = "rgba(0,0,0,0)"
    axis = {"visible": False}
    grounds = {"paper_bgcolor": clear, "plot_bgcolor": clear}
    return {"data": [], "layout": {**grounds, "xaxis": axis, "yaxis": axis, "height": height}}
