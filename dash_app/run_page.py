"""One run, live."""

from collections.abc import Callable
from typing import Any

from dash import Dash, Input, Output, Patch, State, dcc, html, no_update
from dash.exceptions import PreventUpdate

from kappawatt.errors import StoreError
from kappawatt.stores import Store

from . import run_view
from .figures import GRAPH_CONFIG, LOOKS, Figure, blank, height_px, live
from .logs import newest_us
from .pieces import notice, pulse, skeletons
from .queries import Curve, Run, curve, provider_of, run
from .reader import Reader, shown_url
from .text import zone_of

MOST_ID = 256
SHOWN, HIDDEN = "panel", "panel hidden"
UNKNOWN = "unknown"

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
        for part in ([found.run], [found.total], found.phases, found.metrics, rows.rows)
    ]
    return str((found.run_id, versions, rows.window_us, provider, scheme, zone))


def update(answer: Answer, *, scheme: str, zone: str) -> tuple[Any, ...]:
    """Head, cards, figure, phases and facts of one run."""
    found, rows, provider = answer
    place = zone_of(zone)
    # Without samples there is nothing to draw, and Plotly cannot place axes in a part that is not shown.
    figure = live(found, rows, scheme=scheme, zone=place) if rows.rows else blank(height_px(3))
    return (
        run_view.head(found),
        run_view.cards(found, place),
        figure,
        {"height": f"{figure['layout']['height']}px"},
        run_view.phases(found.phases),
        run_view.facts(found, rows, provider),
    )


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


def register(app: Dash, reader: Reader, clock_us: Callable[[], int], log_url: str) -> None:
    """Connect the page to the store."""
    same = (no_update,) * 6

    async def answer(
        _ask: Any, zone: str | None, scheme: str | None, run_id: str | None, seen: str | None, beat: int | None
    ) -> Any:
        if not zone or scheme is None or scheme not in LOOKS or not run_id:
            raise PreventUpdate
        beat = (beat or 0) + 1
        try:
            found = await reader.ask(question(run_id))
        except StoreError as error:
            gone = notice(
                f"No answer from the store {shown_url(reader.url)}", str(error), kind="error", identity="run-gone"
            )
            if seen is None:
                return gone, no_update, None, *same[2:], HIDDEN, None, beat
            return gone, *same, no_update, no_update, beat
        if found is None:
            return (
                None,
                run_view.unknown(run_id),
                None,
                no_update,
                no_update,
                None,
                None,
                {"display": "none"},
                "unknown",
                beat,
            )
        now = clock_us()
        warnings = run_view.notices(found[0], now_us=now, zone=zone_of(zone), log_us=newest_us(log_url))
        print_ = fingerprint(found, scheme, zone)
        parts = same if print_ == seen else update(found, scheme=scheme, zone=zone)
        if print_ != seen and seen not in (None, UNKNOWN):
            parts = (*parts[:2], patched(parts[2]), *parts[3:])
        if not found[1].rows:
            return warnings, *parts, HIDDEN, UNKNOWN, beat
        return warnings, *parts, SHOWN, print_, beat

    app.callback(
        Output("run-notice", "children"),
        Output("run-head", "children"),
        Output("run-cards", "children"),
        Output("run-graph", "figure"),
        Output("run-graph", "style"),
        Output("run-phases", "children"),
        Output("run-facts", "children"),
        Output("run-charts", "className"),
        Output("run-seen", "data"),
        Output("run-beat", "data"),
        Input("run-ask", "data"),
        Input("zone", "data"),
        Input("scheme", "data"),
        State("run-id", "data"),
        State("run-seen", "data"),
        State("run-beat", "data"),
    )(answer)
