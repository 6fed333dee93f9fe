"""Semantics §4 and the phases of §2: what run events say."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from operator import itemgetter
from typing import Any

from tests.oracle.cells import RunSum
from tests.oracle.model import Record, Row, Table, is_long, utc_date

TYPES = ("start", "phase_start", "phase_end", "epoch", "heartbeat", "budget", "stop")
PLAIN = ("user", "team", "project", "model", "framework", "dataset", "environment", "zone")
UNPHASED = "unphased"


def event_fault(event: Record) -> str:
    """The first reason to reject a run event, or nothing."""
    pue, wue = event["pue"], event["wue_l_per_kwh"]
    checks = (
        ("empty_id", event["run_id"] == "" or event["event_id"] == ""),
        ("long_id", any(is_long(event[name] or "") for name in ("run_id", "event_id", "phase"))),
        ("reserved_run_id", event["run_id"].startswith("~")),
        ("unknown_word", event["type"] not in TYPES),
        ("bad_pue", pue is not None and not 1 <= pue <= 100),
        ("bad_wue", wue is not None and not 0 <= wue <= 1_000),
    )
    return next((reason for reason, applies in checks if applies), "")


SAYS = (*PLAIN, "status", "phase", "rank", "epoch", "metrics", "labels", "hardware", "pue", "wue_l_per_kwh")
"""What an event can carry; a heartbeat with none of it is bare."""


def by_run(events: Iterable[Record]) -> dict[str, list[Record]]:
    """The accepted events of each run by (at, event_id); of a repeated event_id the first read that is not bare."""
    runs: dict[str, list[Record]] = {}
    used: set[tuple[str, str]] = set()
    for event in events:
        identity = (event["run_id"], event["event_id"])
        if event_fault(event) or identity in used:
            continue
        if event["type"] != "heartbeat" or any(event[name] not in (None, {}, []) for name in SAYS):
            used.add(identity)
        runs.setdefault(event["run_id"], []).append(event)
    return {run: sorted(of_run, key=_order) for run, of_run in runs.items()}


def _order(event: Record) -> tuple[int, str]:
    return (event["at"], event["event_id"])


def latest(events: list[Record], pick: Callable[[Record], Any]) -> Any:
    """What the greatest event that carries something carries; None: none does."""
    return next((value for event in reversed(events) if (value := pick(event)) is not None), None)


def pue_of(events: list[Record]) -> float:
    """The PUE of a run; 1.0 if nobody said one."""
    value = latest(events, itemgetter("pue"))
    return 1.0 if value is None else float(value)


def wue_of(events: list[Record]) -> float | None:
    """The WUE of a run in litres per kWh of IT energy."""
    value = latest(events, itemgetter("wue_l_per_kwh"))
    return None if value is None else float(value)


def run_row(run: str, events: list[Record], total: RunSum | None, fleet_us: int | None, lease_us: int) -> Row:
    """The row of table run, when the fleet has come to an instant (None: unknown)."""
    row: Row = {"run_id": run, "pue": pue_of(events), "wue_l_per_kwh": wue_of(events)}
    for name in PLAIN:
        row[name] = latest(events, itemgetter(name))
    row["name"] = latest(events, lambda event: (event["labels"] or {}).get("name"))
    row["labels"] = latest(events, lambda event: _text(event["labels"]))
    row["hardware"] = latest(events, lambda event: _text(event["hardware"]))
    turn = latest(events, lambda event: event if event["type"] in ("start", "stop") else None)
    stopped = turn is not None and turn["type"] == "stop"
    row["status"] = "running" if not stopped else "succeeded" if turn["status"] is None else turn["status"]
    row["ended_at"] = turn["at"] if row["status"] != "running" else None
    row["started_at"] = min((event["at"] for event in events if event["type"] == "start"), default=None)
    instants = [event["at"] for event in events]
    row["first_seen"] = min(instants + ([total.first_start] if total else []))
    row["last_seen"] = max(instants + ([total.last_end] if total else []))
    lives = total is not None or any(event["type"] != "budget" for event in events)
    silent = fleet_us is not None and row["last_seen"] + lease_us <= fleet_us
    if row["status"] == "running" and lives and silent and not run.startswith("~"):
        row["status"] = "lost"
    return row


def _text(value: Any) -> str | None:
    """JSON with sorted keys and no spaces; None for nothing and for what is empty."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")) if value else None


def list_row(row: Row) -> Row:
    """The row of table runs_by_date that goes with a row of table run."""
    started = row["first_seen"] if row["started_at"] is None else row["started_at"]
    columns = {name: row[name] for name in ("run_id", "status", "user", "project", "model", "name")}
    return columns | {"date": utc_date(started), "started_at": started}


def metric_rows(events: dict[str, list[Record]]) -> Table:
    """One row an event that has metrics or ends an epoch."""
    rows: Table = {}
    for run, of_run in events.items():
        for event in of_run:
            if not event["metrics"] and event["type"] != "epoch":
                continue
            key = (run, utc_date(event["at"]), event["at"], event["event_id"])
            row: Row = dict(zip(("run_id", "date", "at", "event_id"), key, strict=True))
            row |= {"type": event["type"], "epoch": event["epoch"]}
            metrics = event["metrics"] or {}
            row |= {name: metrics.get(name) for name in ("loss", "accuracy", "samples", "tokens")}
            rows[key] = row
    return rows


FOREVER = 1 << 62
"""Where a phase ends that nothing closes."""


class Phases:
    """Which phase of a run holds when.

    `edges` are the instants, ascending, where the holder may change; before the first of them the run is unphased.
    """

    def __init__(self, events: list[Record]) -> None:
        steps = [event for event in events if event["type"] in ("phase_start", "phase_end") and event["phase"]]
        steps = [event for event in steps if event["rank"] in (None, 0)]
        self.any = bool(steps)
        self._intervals = _intervals(steps)
        self.edges = sorted({edge for start, end, *_ in self._intervals for edge in (start, end)})

    def holder(self, instant_us: int) -> str:
        """The phase that holds at an instant: the latest started of the open ones."""
        holding = [
            (start, event_id, phase) for start, end, event_id, phase in self._intervals if start <= instant_us < end
        ]
        return max(holding)[2] if holding else UNPHASED

    def parts(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """An interval cut at the edges inside it, each part with its holder."""
        cuts = [start, *(edge for edge in self.edges if start < edge < end), end]
        return [(low, high, self.holder(low)) for low, high in pairwise(cuts)]


def _intervals(steps: list[Record]) -> list[tuple[int, int, str, str]]:
    """(start, end, event_id of the start, phase) from events by (at, event_id)."""
    open_by_name: dict[str, Record] = {}
    closed = []

    def close(name: str, at: int) -> None:
        opened = open_by_name.pop(name, None)
        if opened is not None and opened["at"] < at:
            closed.append((opened["at"], at, opened["event_id"], name))

    for event in steps:
        close(event["phase"], event["at"])
        if event["type"] == "phase_start":
            open_by_name[event["phase"]] = event
    for name in list(open_by_name):
        close(name, FOREVER)
    return closed
