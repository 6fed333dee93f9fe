"""One run, live."""

from collections.abc import Callable
from typing import Any

from dash import Dash, Input, Output, Patch, State, dcc, html, no_update
from dash.exceptions import PreventUpdate

from kappawatt.errors import StoreError
from kappawatt.stores import Store

from . import restated, run_view
from .figures import height_px, live
from .logs import newest_us
from .look import GRAPH_CONFIG, LOOKS, Figure, blank
from .pieces import notice, pulse, skeletons
from .queries import Curve, Run, curve, provider_of, run
from .reader import Reader, shown_url
from .text import zone_of

MOST_ID = 256
SHOWN, HIDDEN = "panel", "panel hidden"
UNKNOWN = "unknown"

OUTPUTS = {
    "notice": ("run-notice", "children"),
    "head": ("run-head", "children"),
    "cards": ("run-cards", "children"),
    "figure": ("run-graph", "figure"),
    "style": ("run-graph", "style"),
    "phases": ("run-phases", "children"),
    "restatements": ("run-restatements", "children"),
    "facts": ("run-facts", "children"),
    "charts": ("run-charts", "className"),
    "seen": ("run-seen", "data"),
    "beat": ("run-beat", "data"),
}

Answer = tuple[Run, Curve, str | None]


def layout(run_id: str) -> html.Div:
    """The page before its first answer: grey shapes where numbers and curves will be."""
    return html.Div(
        [
            dcc.Store(id="run-id", data=run_id[:MOST_ID]),
            pulse("run"),
            html.Div(html.H1("Run", className="waiting"), id="run-head"),
            html.Div(id="run-notice"),
            html.Div(skeletons(8), id="run-cards"),
            html.Section(
                [
                    html.H2("Over time"),
                    dcc.Graph(
                        id="run-graph",
                        config=dict(GRAPH_CONFIG),
                        figure=blank(height_px(3)),
                        style=_height(3),
                        className="graph",
                    ),
                ],
                id="run-charts",
                className="panel waiting",
                **{"aria-label": "Curves of power, emission rate and totals"},
            ),
            html.Section(id="run-phases", className="panel"),
            html.Section(id="run-restatements", className="panel"),
            html.Section(id="run-facts", className="panel"),
        ],
        className="run",
    )


def _height(panels: int) -> dict[str, str]:
    return {"height": f"{height_px(panels)}px"}


def question(run_id: str) -> Callable[[Store], Answer | None]:
    """What the page asks the store about one run."""

    def ask(store: Store) -> Answer | None:
        found = run(store, run_id)
        if found is None:
            return None
        return found, curve(store, found), provider_of(store, found)

    return ask


def fingerprint(answer: Answer, scheme: str, zone: str) -> str:
    """Equal for answers that look the same on the page."""
    found, rows, provider = answer
    versions = [
        (len(part), max((row.get("version", 0) for row in part), default=0))
        for part in ([found.run], [found.total], found.phases, found.metrics, found.restatements, rows.rows)
    ]
    return str((found.run_id, versions, rows.window_us, provider, scheme, zone))


def parts(answer: Answer, *, scheme: str, zone: str) -> dict[str, Any]:
    """Head, cards, figure, phases and facts of one run."""
    found, rows, provider = answer
    place = zone_of(zone)
    # Without samples there is nothing to draw, and Plotly cannot place axes in a part that is not shown.
    figure = live(found, rows, scheme=scheme, zone=place) if rows.rows else blank(height_px(3))
    return {
        "head": run_view.head(found),
        "cards": run_view.cards(found, place),
        "figure": figure,
        "style": {"height": f"{figure['layout']['height']}px"},
        "phases": run_view.phases(found.phases),
        "restatements": restated.restatements(found.restatements, place),
        "facts": run_view.facts(found, rows, provider),
    }


def patched(figure: Figure) -> Patch:
    """The same figure as changes to the one that the browser shows, its axes part by part.

    Dash 4.4 writes a zoom into the figure that it keeps, so that Plotly takes the next whole figure, which has no
    range, for a wish to undo the zoom, whatever `uirevision` says. Changes leave the range alone.
    """
    change = Patch()
    change["data"] = figure["data"]
    for name, value in figure["layout"].items():
        if name[1:5] != "axis":
            change["layout"][name] = value
            continue
        for part, setting in value.items():
            change["layout"][name][part] = setting
    return change


def shown(answer: Answer, *, scheme: str, zone: str, seen: str | None) -> dict[str, Any]:
    """New values of the page's parts for a run that the store knows; none of what, by *seen*, is shown already."""
    mark = fingerprint(answer, scheme, zone)
    if mark == seen:
        return {}
    new = parts(answer, scheme=scheme, zone=zone)
    if not answer[1].rows:
        return {**new, "charts": HIDDEN, "seen": UNKNOWN}
    if seen not in (None, UNKNOWN):
        new["figure"] = patched(new["figure"])
    return {**new, "charts": SHOWN, "seen": mark}


def unknown(run_id: str) -> dict[str, Any]:
    """New values of the page's parts for a run that the store does not know."""
    nothing = dict.fromkeys(("notice", "cards", "phases", "restatements", "facts"))
    return {**nothing, "head": run_view.unknown(run_id), "charts": HIDDEN, "seen": UNKNOWN}


def down(error: StoreError, reader: Reader, *, seen: str | None) -> dict[str, Any]:
    """New values of the page's parts while the store does not answer: the last numbers stay, grey shapes go."""
    title = f"No answer from the store {shown_url(reader.url)}"
    new = {"notice": notice(title, str(error), kind="error", identity="run-gone")}
    return new if seen is not None else {**new, "cards": None, "charts": HIDDEN}


def register(app: Dash, reader: Reader, clock_us: Callable[[], int], log_url: str) -> None:
    """Connect the page to the store."""

    async def new(run_id: str, zone: str, scheme: str, seen: str | None) -> dict[str, Any]:
        try:
            found = await reader.ask(question(run_id))
        except StoreError as error:
            return down(error, reader, seen=seen)
        if found is None:
            return unknown(run_id)
        log_us = newest_us(log_url)
        warnings = run_view.notices(found[0], now_us=clock_us(), zone=zone_of(zone), log_us=log_us)
        return {"notice": warnings, **shown(found, scheme=scheme, zone=zone, seen=seen)}

    async def answer(_ask: Any, zone: str | None, scheme: str, run_id: str, seen: str | None, beat: int | None) -> Any:
        if not zone or scheme not in LOOKS or not run_id:
            raise PreventUpdate
        return {**dict.fromkeys(OUTPUTS, no_update), **await new(run_id, zone, scheme, seen), "beat": (beat or 0) + 1}

    app.callback(
        output={name: Output(*place) for name, place in OUTPUTS.items()},
        inputs=[
            Input("run-ask", "data"),
            Input("zone", "data"),
            Input("scheme", "data"),
            State("run-id", "data"),
            State("run-seen", "data"),
            State("run-beat", "data"),
        ],
    )(answer)
