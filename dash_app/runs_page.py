"""The list of runs, with the totals of what it shows."""

from collections.abc import Callable, Mapping
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, html, no_update
from dash.exceptions import PreventUpdate

from kappawatt.errors import StoreError
from kappawatt.units import kwh

from .fleet import Fleet, Listing
from .pieces import fleet_cards, notice, pulse, skeletons
from .queries import DAY_US, STALE_US, Line, matching, sums
from .reader import Reader, shown_url
from .text import clock, digits, duration, inert, money, percent, zone_of

RANGES = {"1": "24 h", "7": "7 days", "30": "30 days", "365": "1 year"}
DEFAULT_DAYS = "30"
MOST_TEXT = 200
HEADER_PX, ROW_PX = 48, 42

OUTPUTS = {
    "notice": ("runs-notice", "children"),
    "sums": ("runs-sums", "children"),
    "rows": ("runs-grid", "rowData"),
    "changes": ("runs-grid", "rowTransaction"),
    "empty": ("runs-empty", "children"),
    "list": ("runs-list", "style"),
    "foot": ("runs-foot", "children"),
    "seen": ("runs-seen", "data"),
    "beat": ("runs-beat", "data"),
}

_NUMBER = {"type": "rightAligned", "sortingOrder": ["desc", "asc", None]}


def _shown(field: str) -> dict[str, Any]:
    """Sorts by the number, shows the text that the server made of it."""
    return {"field": field, "valueFormatter": {"function": f"params.data.{field}_text"}, **_NUMBER}


COLUMNS: list[dict[str, Any]] = [
    {"headerName": "Run", "field": "name", "cellRenderer": "RunLink", "minWidth": 240, "flex": 2},
    {"headerName": "Status", "field": "status", "cellRenderer": "RunStatus", "width": 130},
    {
        "headerName": "Started",
        "field": "started_us",
        "valueFormatter": {"function": "kwTime(params.value)"},
        "width": 160,
        "sort": "desc",
        "sortingOrder": ["desc", "asc"],
    },
    {"headerName": "Energy, kWh", **_shown("energy"), "width": 125},
    {"headerName": "Emissions, g CO₂e", **_shown("emissions"), "width": 160},
    {"headerName": "Estimated", **_shown("estimated"), "width": 105},
    {"headerName": "Coverage", **_shown("coverage"), "width": 105},
    {"headerName": "Cost", **_shown("cost"), "width": 95},
    {"headerName": "User", "field": "user", "width": 110},
    {"headerName": "Project", "field": "project", "width": 140},
    {"headerName": "Model", "field": "model", "width": 140},
    {"headerName": "Run id", "field": "run_id", "width": 200},
]


def layout(query: Mapping[str, str]) -> html.Div:
    """The page before its first answer, with the filters that the address names."""
    return html.Div(
        [
            html.H1("Runs"),
            pulse("runs"),
            html.Div(id="runs-notice"),
            html.Div(skeletons(5, "cards cards-5"), id="runs-sums", **{"aria-live": "off"}),
            _filters(query),
            html.Div(id="runs-empty"),
            html.Div(_grid(), id="runs-list", className="runs-list"),
            html.P(id="runs-foot", className="foot"),
        ]
    )


def _filters(query: Mapping[str, str]) -> html.Div:
    days = query.get("days", DEFAULT_DAYS)
    ranges = [{"value": value, "label": label} for value, label in RANGES.items()]
    simulated = query.get("simulated") != "hide"
    return html.Div(
        [
            dmc.TextInput(
                id="runs-text",
                value=query.get("q", "")[:MOST_TEXT],
                placeholder="Filter by name, user, project…",
                debounce=200,
                className="filter-text",
                **{"aria-label": "Filter runs"},
            ),
            dmc.SegmentedControl(id="runs-days", value=days if days in RANGES else DEFAULT_DAYS, data=ranges),
            dmc.Switch(id="runs-simulated", label="Simulated runs", checked=simulated, size="sm"),
        ],
        className="filters",
    )


def _grid() -> dag.AgGrid:
    return dag.AgGrid(
        id="runs-grid",
        columnDefs=COLUMNS,
        getRowId="params.data.run_id",
        columnSize=None,
        defaultColDef={"resizable": True, "sortable": True, "suppressMovable": True},
        dashGridOptions={
            "animateRows": False,
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
            "loadThemeGoogleFonts": False,
            "headerHeight": HEADER_PX,
            "rowHeight": ROW_PX,
        },
        style={"height": "100%"},
    )


def record(one: Line, now_us: int) -> dict[str, Any]:
    """One row of the grid: plain values to sort by and texts to show."""
    energy_kwh = None if one.energy_uj is None else kwh(one.energy_uj)
    estimated = one.estimated_uj / one.energy_uj if one.energy_uj and one.estimated_uj is not None else None
    heard = one.started_us if one.last_us is None else one.last_us
    silent = one.status == "running" and now_us - heard > STALE_US
    return {
        "run_id": one.run_id,
        "name": inert(one.name) or inert(one.run_id),
        "status": one.status,
        "silent": silent,
        "simulated": one.simulated,
        "user": inert(one.user),
        "project": inert(one.project),
        "model": inert(one.model),
        "started_us": one.started_us,
        "energy": energy_kwh,
        "energy_text": digits(energy_kwh),
        "emissions": one.emissions_g,
        "emissions_text": digits(one.emissions_g),
        "estimated": estimated,
        "estimated_text": percent(estimated),
        "coverage": one.coverage,
        "coverage_text": percent(one.coverage),
        "cost": one.cost,
        "cost_text": money(one.cost, one.currency),
    }


def update(
    listing: Listing,
    fleet_id: str,
    *,
    text: str,
    days: str,
    simulated: bool,
    zone: str,
    now_us: int,
    seen: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """New values of the page's parts; `no_update` for what the browser, by *seen*, already shows."""
    shown = matching(listing.lines, text, simulated=simulated)
    silent = frozenset(one.run_id for one in shown if record(one, now_us)["silent"])
    order = hash((tuple(one.run_id for one in shown), silent))
    known = seen or {}
    same = known.get("fleet") == fleet_id and known.get("order") == str(order)
    fresh = [one for one in shown if listing.changed[one.run_id] > known.get("generation", 0)] if same else shown
    records = [record(one, now_us) for one in fresh]
    return {
        "notice": flow_notice(shown, now_us, zone),
        "sums": fleet_cards(sums(shown)) if fresh or not same else no_update,
        "rows": no_update if same else records,
        "changes": {"update": records, "async": False} if same and records else no_update,
        "empty": no_update if same else nothing(listing, shown, text, days, simulated),
        "list": no_update if same else _frame(len(shown)),
        "foot": foot(listing, shown, zone),
        "seen": {"fleet": fleet_id, "order": str(order), "generation": listing.generation},
    }


def _frame(rows: int) -> dict[str, str]:
    """The list's frame: no higher than its rows, with the room that a horizontal scroll bar takes."""
    return {"display": "block", "maxHeight": f"{HEADER_PX + rows * ROW_PX + 18}px"} if rows else {"display": "none"}


def flow_notice(lines: list[Line], now_us: int, zone: str) -> Any:
    """Says so if runs should be sending and none of them does."""
    running = [one for one in lines if one.status == "running"]
    heard = max((one.started_us if one.last_us is None else one.last_us for one in running), default=None)
    # What is silent for longer has rather ended without a word; its line in the list says that it has no data.
    if heard is None or not STALE_US < now_us - heard < DAY_US:
        return None
    return notice(
        f"Flow down or stalled – last data {clock(heard, now_us, zone_of(zone))}",
        f"{len(running)} of these runs should be sending, and nothing came for {duration(now_us - heard)}. "
        "Is `kappawatt flow` running? Runs that ended without saying so look the same.",
    )


def nothing(listing: Listing, shown: list[Line], text: str, days: str, simulated: bool) -> Any:
    """What to do when there is no run to show."""
    if shown:
        return None
    if listing.lines:
        hidden = "" if simulated else " that is not simulated"
        what = f" matching “{inert(text)}”" if text.strip() else ""
        return html.Div(
            [
                html.H2(f"No run{what}{hidden}"),
                html.P(f"{len(listing.lines):,} other runs began in the last {RANGES[days]}."),
            ],
            className="empty",
            id="runs-no-match",
        )
    return beginning(f"No runs in the last {RANGES[days]}" if listing.older else "No runs yet", older=listing.older)


def beginning(heading: str, *, older: bool = False) -> html.Div:
    """How a first run is made."""
    return html.Div(
        [
            html.H2(heading),
            html.P("Put this before the command that trains, and it appears here within seconds:"),
            html.Pre("kappawatt run -- python train.py", className="command"),
            html.P(["or, in Python: ", html.Code('with kappawatt.track(name="my run"): …')]),
            html.P("Older runs: choose a longer time.") if older else None,
            html.P(["Only looking around? ", html.Code("kappawatt demo"), " shows a real and some simulated runs."]),
        ],
        className="empty",
        id="runs-none",
    )


def foot(listing: Listing, shown: list[Line], zone: str) -> str:
    """How many runs are shown, and in which zone times are."""
    cut = f" Only the newest {len(listing.lines):,} are listed; choose a shorter time." if listing.cut else ""
    return f"{len(shown):,} of {len(listing.lines):,} runs.{cut} Times in {zone_of(zone)}."


def down(error: StoreError, reader: Reader, *, seen: Any) -> dict[str, Any]:
    """New values of the page's parts while the store does not answer: the last numbers stay, grey shapes go."""
    new = {"notice": notice(f"No answer from the store {shown_url(reader.url)}", str(error), kind="error")}
    if seen is not None:
        return new
    return {**new, "sums": None, "empty": beginning("How to begin"), "list": {"display": "none"}}


def register(app: Dash, reader: Reader, clock_us: Callable[[], int]) -> None:
    """Connect the page to the store."""
    fleet = Fleet(clock_us)

    async def new(seen: Any, **asked: Any) -> dict[str, Any]:
        try:
            listing = await reader.ask(lambda store: fleet.look(store, int(asked["days"])))
        except StoreError as error:
            return down(error, reader, seen=seen)
        return update(listing, fleet.id, now_us=clock_us(), seen=seen, **asked)

    async def answer(
        _ask: Any, zone: str | None, text: str | None, days: str, simulated: bool, seen: Any, beat: int | None
    ) -> Any:
        if not zone or days not in RANGES:
            raise PreventUpdate
        found = await new(seen, text=(text or "")[:MOST_TEXT], days=days, simulated=bool(simulated), zone=zone)
        return {**dict.fromkeys(OUTPUTS, no_update), **found, "beat": (beat or 0) + 1}

    filters = [Input("runs-text", "value"), Input("runs-days", "value"), Input("runs-simulated", "checked")]
    app.callback(
        output={name: Output(*place) for name, place in OUTPUTS.items()},
        inputs=[
            Input("runs-ask", "data"),
            Input("zone", "data"),
            *filters,
            State("runs-seen", "data"),
            State("runs-beat", "data"),
        ],
    )(answer)
    app.clientside_callback(
        ClientsideFunction("kw", "address"), Output("runs-list", "title"), *filters, prevent_initial_call=True
    )
