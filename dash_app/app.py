"""The app: frame, routes and API around one store."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from . import api, run_page, runs_page
from .pieces import pulse_callbacks
from .reader import Reader
from .security import Guard, policy

_log = logging.getLogger(__name__)

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

ASSETS = Path(__file__).with_name("assets")

# Own files are named here and not by Dash, which lists them only after a first request to `/`: a browser that opens
# a run's address first would get a page without them. before.js runs before the first paint, so that a dark page is
# never white first.
INDEX = """<!DOCTYPE html>
<html lang="en" data-mantine-color-scheme="light">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
<script src="/assets/before.js?v=VERSION" data-plotly="/assets/plotly-basic.min.js?v=VERSION"></script>
{%css%}
<link rel="stylesheet" href="/assets/page.css?v=VERSION">
</head>
<body>
{%app_entry%}
<noscript>This page needs JavaScript; kappawatt ls and kappawatt show RUN give the same numbers.</noscript>
<footer>
{%config%}{%scripts%}
<script src="/assets/page.js?v=VERSION" data-plotly="/assets/plotly-basic.min.js?v=VERSION"></script>
<script src="/assets/grid.js?v=VERSION"></script>
{%renderer%}
</footer>
</body>
</html>"""


def index() -> str:
    """The page's frame; a changed file has another address, so that no browser keeps an old one."""
    found = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(ASSETS.iterdir()) if file.is_file()))
    return INDEX.replace("VERSION", found.hexdigest()[:12])


def now_us() -> int:
    """Now, in µs since 1970."""
    return time.time_ns() // 1_000


def frame() -> dmc.MantineProvider:
    """What every page has: name, ways to go, light or dark."""
    header = html.Header(
        [
            dcc.Link(
                [html.Span(className="logo", **{"aria-hidden": "true"}), "kappawatt"], href="/", className="brand"
            ),
            html.Nav([dcc.Link("Runs", href="/")], **{"aria-label": "Main"}),
            dmc.ColorSchemeToggle(
                id="toggle",
                lightIcon=html.Span(className="icon-sun", **{"aria-hidden": "true"}),
                darkIcon=html.Span(className="icon-moon", **{"aria-hidden": "true"}),
                variant="default",
                size="lg",
                **{"aria-label": "Light or dark"},
            ),
        ],
        className="top",
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="zone"),
            dcc.Store(id="scheme"),
            header,
            html.Main(id="page"),
        ],
        defaultColorScheme="auto",
        theme={"primaryColor": "blue", "fontFamily": "inherit", "defaultRadius": "md"},
    )


def page_at(path: str, search: str) -> html.Div:
    """The page at an address; what is no address of ours says so."""
    if path == "/":
        return runs_page.layout(dict(parse_qsl(search.removeprefix("?"), max_num_fields=10)))
    if path.startswith("/run/") and len(path) > len("/run/"):
        return run_page.layout(unquote(path.removeprefix("/run/")))
    return html.Div(
        [html.H1("No such page"), html.P(dcc.Link("All runs", href="/"))], className="empty", id="no-such-page"
    )


def build(
    reader: Reader, *, log: str, hosts: frozenset[str] | None = LOCAL_HOSTS, clock_us: Callable[[], int] = now_us
) -> tuple[Dash, ASGIApp]:
    """The Dash app, and the guarded ASGI app to serve.

    Args:
        reader: The way to the store.
        log: URL of the log, to tell a flow that is down from a run that ended.
        hosts: Host names that are answered; None: all.
        clock_us: Now, in µs since 1970.
    """
    # No generated documentation: FastAPI's loads scripts from elsewhere.
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    api.register(server, reader, clock_us)
    app = Dash(
        __package__ or "dash_app",
        server=server,
        backend="fastapi",
        title="kappawatt",
        update_title="",
        index_string=index(),
        include_assets_files=False,
        suppress_callback_exceptions=True,
        enable_mcp=False,
        on_error=_report,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    # The page polls; without this, Dash's client would knock at a websocket that nobody serves.
    app.backend.websocket_capability = False
    app.layout = frame()
    _connect(app)
    runs_page.register(app, reader, clock_us)
    run_page.register(app, reader, clock_us, log)
    packed = GZipMiddleware(server, minimum_size=1_000, compresslevel=5)
    return app, Guard(packed, hosts=hosts, policy=policy(app.csp_hashes()))


def _report(error: Exception) -> None:
    # Dash would answer 500 without a word anywhere; the page keeps its last numbers and says that it waits.
    _log.error("the page could not answer", exc_info=error)


def _connect(app: Dash) -> None:
    def page(path: str | None, search: str | None) -> Any:
        return page_at(path or "/", search or "")

    app.callback(Output("page", "children"), Input("url", "pathname"), State("url", "search"))(page)
    app.clientside_callback(ClientsideFunction("kw", "scheme"), Output("scheme", "data"), Input("url", "pathname"))
    app.clientside_callback(ClientsideFunction("kw", "zone"), Output("zone", "data"), Input("url", "pathname"))
    app.clientside_callback(ClientsideFunction("kw", "title"), Output("page", "title"), Input("url", "pathname"))
    for prefix in ("runs", "run"):
        pulse_callbacks(app, prefix)
