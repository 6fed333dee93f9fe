"""The HTTP API: the same answers as the page, as JSON."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from kappawatt.errors import StoreError

from .fleet import Fleet
from .queries import WIDTHS, Line, Run, matching, run, sums, windows
from .reader import Reader, shown_url

MOST_ID = 256
MOST_TEXT = 200
MOST_LISTED = 1_000
MOST_DAYS = 365


class BadRequestError(ValueError):
    """A parameter that cannot be used; the message says which and how it should be."""


def whole(text: str | None, name: str, *, default: int, most: int) -> int:
    """A number from 1 to *most*.

    >>> whole(None, "days", default=30, most=365), whole("7", "days", default=30, most=365)
    (30, 7)
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise BadRequestError(
            f"{name}={text[:40]!r} is not a whole number from 1 to {most}; without it, {default} is used"
        )
    return int(text)


def identity(run_id: str) -> str:
    """A run id that a run may have.

    Raises:
        BadRequestError: It is empty, too long, or holds control characters.
    """
    if not run_id or len(run_id) > MOST_ID or any(ord(sign) < 32 or ord(sign) == 127 for sign in run_id):
        raise BadRequestError(f"a run id has 1 to {MOST_ID} printable characters; got {run_id[:40]!r}")
    return run_id


def day(text: str | None) -> str:
    """A UTC day, `YYYY-MM-DD`."""
    try:
        found = dt.date.fromisoformat(text or "")
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        raise BadRequestError(f"date={(text or '')[:40]!r} is not a day like 2026-11-21 (UTC)")
    return text


def listed(one: Line) -> dict[str, Any]:
    """One line as JSON; times in µs UTC, energies in µJ as whole numbers of any size."""
    return asdict(one)


def detailed(found: Run) -> dict[str, Any]:
    """One run as JSON: the rows of the store, null where nothing is known."""
    return {
        "run_id": found.run_id,
        "simulated": found.simulated,
        "run": dict(found.run) or None,
        "total": dict(found.total) or None,
        "phases": [dict(row) for row in found.phases],
        "restatements": [dict(row) for row in found.restatements],
    }


Handler = Callable[..., Awaitable[JSONResponse]]


def register(server: FastAPI, reader: Reader, clock_us: Callable[[], int]) -> None:
    """Add the API's routes to *server*."""
    server.add_api_route("/livez", _alive, methods=["GET"])
    server.add_api_route("/healthz", _health(reader), methods=["GET"])
    server.add_api_route("/api/runs", _runs(reader, Fleet(clock_us)), methods=["GET"])
    server.add_api_route("/api/runs/{run_id}", _run(reader), methods=["GET"])
    server.add_api_route("/api/runs/{run_id}/windows/{width}", _windows(reader), methods=["GET"])
    server.add_api_route("/api/{rest:path}", _nothing, methods=["GET"])
    server.add_exception_handler(BadRequestError, _refused)
    server.add_exception_handler(StoreError, _unanswered)


def _runs(reader: Reader, fleet: Fleet) -> Handler:
    async def runs(request: Request) -> JSONResponse:
        query = request.query_params
        days = whole(query.get("days"), "days", default=30, most=MOST_DAYS)
        limit = whole(query.get("limit"), "limit", default=MOST_LISTED, most=MOST_LISTED)
        text = query.get("q", "")
        if len(text) > MOST_TEXT:
            raise BadRequestError(f"q has {len(text)} characters; at most {MOST_TEXT} are used")
        simulated = _shows_simulated(query)
        listing = await reader.ask(lambda store: fleet.look(store, days))
        found = matching(listing.lines, text, simulated=simulated)
        return JSONResponse(
            {"runs": [listed(one) for one in found[:limit]], "totals": asdict(sums(found)), "cut": listing.cut}
        )

    return runs


def _run(reader: Reader) -> Handler:
    async def one_run(run_id: str) -> JSONResponse:
        wanted = identity(run_id)
        found = await reader.ask(lambda store: run(store, wanted))
        return _unknown(wanted) if found is None else JSONResponse(detailed(found))

    return one_run


def _windows(reader: Reader) -> Handler:
    async def curve(run_id: str, width: str, request: Request) -> JSONResponse:
        wanted, date = identity(run_id), day(request.query_params.get("date"))
        if width not in WIDTHS:
            raise BadRequestError(f"windows are of {', '.join(WIDTHS)}; got {width[:40]!r}")
        rows = await reader.ask(lambda store: windows(store, wanted, WIDTHS[width], date))
        return JSONResponse({"run_id": wanted, "width": width, "date": date, "windows": rows})

    return curve


def _health(reader: Reader) -> Handler:
    async def health() -> JSONResponse:
        store_id = await reader.ask(lambda store: store.store_id())
        return JSONResponse({"status": "ok", "store": shown_url(reader.url), "store_id": store_id})

    return health


async def _alive() -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _nothing(rest: str) -> JSONResponse:
    return JSONResponse({"error": f"there is no /api/{rest[:80]}; see /api/runs"}, status_code=404)


def _shows_simulated(query: Mapping[str, str]) -> bool:
    value = query.get("simulated", "show")
    if value not in ("show", "hide"):
        raise BadRequestError(f"simulated={value[:40]!r} is neither show nor hide")
    return value == "show"


def _unknown(run_id: str) -> JSONResponse:
    return JSONResponse({"error": f"the store has no run {run_id!r}; /api/runs lists the runs it has"}, status_code=404)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _unanswered(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"status": "store down", "error": str(error)}, status_code=503)
