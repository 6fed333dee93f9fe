"""What a rebuild takes away: rows of an earlier life that the log, read anew, does not give.

The flow only ever replaces rows. After a rebuild rows can be left that nothing replaces: a `late` row of a sample that
is on time now, a phase that no longer holds anything. They would stand beside the new rows and break every sum.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kappawatt.ledger.forgotten import origin
from kappawatt.stores import Store
from kappawatt.stores.tables import TABLES
from kappawatt.units import WINDOW_1H_US

LOG = logging.getLogger("kappawatt.flow")

_OF_RUNS = (
    "run_window_5s",
    "run_window_5m",
    "run_window_1h",
    "device_window_5m",
    "late",
    "phase_total",
    "run_metric",
    "runs_by_date",
)
"""Tables whose rows follow from the log alone; `restatement` and `alert` are history and stay."""

_OF_ALL = ("run", "run_total", *_OF_RUNS)
"""Where a run that was met stands under its own id, what came of it after it was forgotten stands no longer."""

_AT = {"late": "start", "run_metric": "at", "runs_by_date": "started_at"}
"""The instant that a row is about, where it is not `window_start`."""

_CHUNK = 1_000


def sweep(store: Store, fence: int) -> Counter[str]:
    """Delete what is older than *fence* and lies within reach of the log; how many rows, by table.

    Args:
        store: The store; nothing else may be writing rows below *fence*.
        fence: The fence of the rebuild's first start: every row that it wrote has a greater version.

    Rows of runs that the rebuild did not meet stay, and so do those from before the first sample that it found: the log
    may have been cut off at its beginning.
    """
    reach = _reach(store, fence)
    removed: Counter[str] = Counter()
    for table in _OF_ALL:
        removed[table] = _delete(store, table, fence, _stale_of_runs(store, table, fence, reach))
    oldest = min(reach.values(), default=None)
    if oldest is not None:
        removed["zone_window_1h"] = _delete(store, "zone_window_1h", fence, _stale_hours(store, fence, oldest))
    store.flush()
    return +removed


def report(removed: Mapping[str, int]) -> None:
    """Say what was removed."""
    if removed:
        found = ", ".join(f"{count} of {table}" for table, count in sorted(removed.items()))
        LOG.info("rebuild: removed rows that the log does not give any more: %s", found)


def _reach(store: Store, fence: int) -> dict[str, int]:
    """By run that the rebuild met, the first instant that it found, µs."""
    return {
        str(row["run_id"]): row["first_seen"] // WINDOW_1H_US * WINDOW_1H_US
        for row in store.scan("run")
        if row["version"] > fence and row["first_seen"] is not None
    }


def _stale_of_runs(store: Store, table: str, fence: int, reach: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    at = _AT.get(table, "window_start")
    for row in store.scan(table):
        run_id = str(row["run_id"])
        first = reach.get(origin(run_id))
        if table not in _OF_RUNS and run_id == origin(run_id):
            continue
        if row["version"] < fence and first is not None and row.get(at, first) >= first:
            yield row


def _stale_hours(store: Store, fence: int, oldest: int) -> Iterator[dict[str, Any]]:
    return (row for row in store.scan("zone_window_1h") if row["version"] < fence and row["window_start"] >= oldest)


def _delete(store: Store, table: str, fence: int, stale: Iterator[dict[str, Any]]) -> int:
    """Rows are collected before they are deleted, some at a time: a scan need not see what changes below it."""
    key = TABLES[table].key
    keys = [tuple(row[column] for column in key) for row in stale]
    for first in range(0, len(keys), _CHUNK):
        store.delete(table, keys[first : first + _CHUNK], fence)
    return len(keys)
