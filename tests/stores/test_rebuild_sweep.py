"""What a rebuild deletes from either store, and what it leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest

from dataflows.rebuild import sweep
from kappawatt.stores import Store
from kappawatt.stores.tables import TABLES

MakeRow = Callable[..., dict[str, Any]]

FENCE = 1_000
HOUR = 3_600_000_000
DAY = "2026-11-21"
AT = 1_795_219_200_000_000
OLD, NEW = FENCE - 1, FENCE + 1


def put(store: Store, table: str, row: dict[str, Any], version: int) -> tuple[Any, ...]:
    store.write(table, [tuple(row.values())], version)
    store.flush()
    return tuple(row[name] for name in TABLES[table].key)


def has(store: Store, table: str, key: tuple[Any, ...]) -> bool:
    return any(tuple(row[name] for name in TABLES[table].key) == key for row in store.scan(table))


def met(store: Store, make_row: MakeRow, *, first_seen: int = AT) -> str:
    """A run that the rebuild wrote."""
    row = make_row("run", first_seen=first_seen)
    put(store, "run", row, NEW)
    return str(row["run_id"])


INSTANTS = {
    "run_window_5s": "window_start",
    "device_window_5m": "window_start",
    "late": "start",
    "run_metric": "at",
    "runs_by_date": "started_at",
}


@pytest.mark.parametrize(("table", "instant"), INSTANTS.items())
def test_stale_rows_of_runs_that_were_met_go(store: Store, make_row: MakeRow, table: str, instant: str):
    run_id = met(store, make_row)
    stale = put(store, table, make_row(table, run_id=run_id, date=DAY, **{instant: AT + HOUR}), OLD)
    fresh = put(store, table, make_row(table, run_id=run_id, date=DAY, **{instant: AT + 2 * HOUR}), NEW)

    removed = sweep(store, FENCE)

    assert removed[table] == 1
    assert (has(store, table, stale), has(store, table, fresh)) == (False, True)


@pytest.mark.parametrize(("table", "instant"), INSTANTS.items())
def test_rows_from_before_the_log_stay(store: Store, make_row: MakeRow, table: str, instant: str):
    run_id = met(store, make_row)
    kept = put(store, table, make_row(table, run_id=run_id, date=DAY, **{instant: AT - HOUR}), OLD)

    sweep(store, FENCE)

    assert has(store, table, kept)


def test_rows_of_runs_that_were_not_met_stay(store: Store, make_row: MakeRow):
    put(store, "run", make_row("run", run_id="not met", first_seen=AT), OLD)
    kept = put(store, "run_window_1h", make_row("run_window_1h", run_id="not met", window_start=AT + HOUR), OLD)

    sweep(store, FENCE)

    assert has(store, "run_window_1h", kept)


def test_history_stays(store: Store, make_row: MakeRow):
    run_id = met(store, make_row)
    kept = put(store, "restatement", make_row("restatement", run_id=run_id, at=AT + HOUR), OLD)

    sweep(store, FENCE)

    assert has(store, "restatement", kept)


def test_sweeping_again_removes_nothing(store: Store, make_row: MakeRow):
    run_id = met(store, make_row)
    put(store, "phase_total", make_row("phase_total", run_id=run_id), OLD)
    assert sweep(store, FENCE)["phase_total"] == 1

    assert sweep(store, FENCE)["phase_total"] == 0


@pytest.mark.parametrize("table", ["run", "run_total", "run_window_1h"])
def test_what_came_of_a_run_after_it_was_forgotten_goes_when_the_run_is_met(
    store: Store, make_row: MakeRow, table: str
):
    run_id = met(store, make_row)
    again = make_row(table, run_id=f"~/{run_id}", **({"window_start": AT + HOUR} if "window" in table else {}))
    stale = put(store, table, again, OLD)
    kept = put(store, table, make_row(table, run_id="~/not met"), OLD)

    sweep(store, FENCE)

    assert (has(store, table, stale), has(store, table, kept)) == (False, True)
