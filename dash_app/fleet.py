"""The list of runs, kept fresh without reading every run every second."""

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kappawatt.stores import Store
from kappawatt.units import US_PER_S

from .queries import DAY_US, Line, days_between, line
from .text import utc_day

MOST_RUNS = 10_000
"""Runs listed at most, the newest; more are said, not shown."""
MANY = 200
"""So many unread runs are looked up by one pass over the tables."""
MOST_SCANNED = 5 * MOST_RUNS
"""Rows that such a pass reads at most; a run that it does not reach is read by itself."""
SETTLED_US = 3_600 * US_PER_S
"""A run that ended so long ago is read again only every `REST_US`: just a better price can still change it."""
REST_US = 60 * US_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The runs of some days, newest first."""

    lines: list[Line]
    changed: dict[str, int]
    """Per run the generation in which its line last changed."""
    generation: int
    cut: bool
    """There are more than `MOST_RUNS`."""
    older: bool
    """None of these days has a run, but the store knows some."""


class Fleet:
    """What the list shows, remembered between two looks. Used by the reader's thread only.

    A generation is a look that found something new; who knows the one it saw last gets by with the lines that changed.

    Args:
        clock: Now, in µs since 1970.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.id = uuid.uuid4().hex
        self._clock = clock
        self._days: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._lines: dict[str, tuple[int, Line]] = {}
        self._changed: dict[str, int] = {}
        self._read: dict[str, dict[str, dict[str, Any]]] = {}
        self._store: Store | None = None
        self._generation = 0

    def __repr__(self) -> str:
        return f"<Fleet {len(self._lines)} runs of {len(self._days)} days, generation {self._generation}>"

    def look(self, store: Store, days: int) -> Listing:
        """The runs that began within the last *days* days, those of today and tomorrow (clock skew) included."""
        if store is not self._store or len(self._lines) > 2 * MOST_RUNS:
            self._forget(store)
        now = self._clock()
        names = reversed(days_between(now - days * DAY_US, now + DAY_US))
        listed = [row for name in names for row in self._listed(store, name, now)]
        listed = [row for row in listed if row["started_at"] >= now - days * DAY_US]
        listed.sort(key=lambda row: (row["started_at"], row["run_id"]), reverse=True)
        self._generation += 1
        listed, cut = listed[:MOST_RUNS], len(listed) > MOST_RUNS
        self._first_read(store, [row["run_id"] for row in listed])
        lines = [self._line(store, row, now) for row in listed]
        self._read.clear()
        newest = max((self._changed[one.run_id] for one in lines), default=0)
        return Listing(
            lines=lines,
            changed=self._changed,
            generation=newest,
            cut=cut,
            older=not listed and any(True for _ in store.scan("runs_by_date")),
        )

    def _forget(self, store: Store) -> None:
        """Read everything anew; what turns out the same is no news."""
        self._store = store
        self._days.clear()
        keep = sorted(self._lines, key=lambda run_id: self._lines[run_id][1].started_us)[-MOST_RUNS:]
        self._lines = {run_id: (0, self._lines[run_id][1]) for run_id in keep}
        self._changed = {run_id: self._changed[run_id] for run_id in keep}

    def _listed(self, store: Store, day: str, now: int) -> list[dict[str, Any]]:
        """Rows of one day of the list; days that are over are looked up only now and then."""
        read_us, rows = self._days.get(day, (0, []))
        fresh_us = REST_US if day < utc_day(now - DAY_US) else 0
        if 0 <= now - read_us < fresh_us:
            return rows
        rows = store.read("runs_by_date", {"date": day}, newest_first=True, limit=MOST_RUNS + 1)
        self._days[day] = (now, rows)
        return rows

    def _first_read(self, store: Store, run_ids: list[str]) -> None:
        """Read many new runs in one go: ten thousand single reads would take seconds."""
        wanted = {run_id for run_id in run_ids if self._lines.get(run_id, (0,))[0] == 0}
        if len(wanted) < MANY:
            return
        for table in ("run", "run_total"):
            found = itertools.islice(store.scan(table), MOST_SCANNED)
            self._read[table] = {row["run_id"]: row for row in found if row["run_id"] in wanted}

    def _row(self, store: Store, table: str, run_id: str) -> dict[str, Any]:
        known = self._read.get(table, {}).get(run_id)
        if known is not None:
            return known
        found = store.read(table, {"run_id": run_id})
        return found[0] if found else {}

    def _line(self, store: Store, listed: dict[str, Any], now: int) -> Line:
        run_id = listed["run_id"]
        known = self._lines.get(run_id)
        if known is not None and 0 <= now - known[0] < _rest_us(known[1], now):
            return known[1]
        new = line(listed, self._row(store, "run", run_id), self._row(store, "run_total", run_id))
        if known is None or known[1] != new:
            self._changed[run_id] = self._generation
        self._lines[run_id] = (now, new)
        return new


def _rest_us(known: Line, now: int) -> int:
    """How long a line needs no second look; spread by run, so that not all are due in the same second."""
    heard = max(known.last_us or 0, known.started_us)
    if now - heard < SETTLED_US:
        return 0
    return REST_US + hash(known.run_id) % REST_US
