"""The rows of one window width in a shard: samples, coverage, peak, what is late, what is final."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import CODE_MASK, RUN_SHIFT, WINDOW_SHIFT, row_key, run_of, window_of
from kappawatt.stream.table import Column, KeyedTable, distinct, reduce_by_key

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROWS = {
    "samples": Column("sum"),
    "covered_us": Column("sum"),
    "span_us": Column("sum"),
    "peak_uj": Column("max"),
    "final": Column("max"),
}
_HOSTS = {"first_us": Column("min"), "last_us": Column("max")}
_SPANS = {**_HOSTS, "samples": Column("sum"), "covered_us": Column("sum"), "run": Column("max")}
_LATE = {"energy_uj": Column("sum", 8), "water_ul": Column("sum")}


class Spans(NamedTuple):
    """What windows of any width take of samples, by (run, host, 5-s window), in a shard's codes."""

    run: Ints
    pair: Ints
    window: Ints
    covered_us: Ints
    first_us: Ints
    last_us: Ints
    samples: Ints

    def chosen(self, rows: Any) -> "Spans":
        """The spans at *rows*."""
        return Spans(*(column[rows] for column in self))

    def joined(self, others: "Spans") -> "Spans":
        """These and others."""
        return Spans(*(np.concatenate(columns) for columns in zip(self, others, strict=True)))


@dataclass(frozen=True, slots=True)
class Parts:
    """Pieces of samples already summed by (run, zone, host, 5-s window), in a shard's codes."""

    run: Ints
    zone: Ints
    pair: Ints
    window: Ints
    energy_uj: Ints
    water_ul: Ints
    covered_us: Ints
    first_us: Ints
    last_us: Ints
    samples: Ints

    def chosen(self, rows: Any) -> "Parts":
        """The parts at *rows*."""
        return Parts(*(getattr(self, name)[rows] for name in Parts.__slots__))

    @property
    def spans(self) -> Spans:
        """Without energy and zone."""
        return Spans(*(getattr(self, name) for name in Spans._fields))


class Windows:
    """Rows of one width by `window << 32 | run << 12`; sums, minima and maxima only, so order leaves no trace.

    Coverage needs each host's first and last instant: kept per (window, host) while the window is open, and only their
    distance afterwards.
    """

    def __init__(self, width_us: int, of_base: int, of_cells: int) -> None:
        self.width_us = width_us
        self._of_base = of_base  # 5-s windows in one of ours
        self._of_cells = of_cells  # windows of the cells' table in one of ours
        self.rows = KeyedTable(_ROWS)
        self.late = KeyedTable(_LATE)  # by the key of the cells' table: what the cells hold and the rows must not
        self._hosts = KeyedTable(_HOSTS)
        self._dirty: list[Ints] = []
        self._forgotten = -1 << 31  # windows before this one are gone: their rows in the store must stay

    def __repr__(self) -> str:
        return f"<Windows of {self.width_us // 1_000_000} s, {len(self.rows)} rows, {len(self._hosts)} open>"

    def is_late(self, run: Ints, window: Ints, frontier: Ints, lateness_us: int) -> Bools:
        """Which 5-s windows lie in one of ours that was evicted: its end + lateness ≤ the run's frontier.

        Forgotten windows are evicted, too, however far the run is behind.
        """
        ours = window // self._of_base
        return ((ours + 1) * self.width_us + lateness_us <= frontier[run]) | (ours < self._forgotten)

    def fold(self, spans: Spans) -> Spans:
        """Take spans that are not late; the same, added up by (run, host, window of ours), for wider windows."""
        values = dict(zip(Spans._fields, spans, strict=True))
        key = spans.window // self._of_base << WINDOW_SHIFT | values.pop("pair")
        del values["window"]
        key, merged = reduce_by_key(key, values, _SPANS)
        window, run = window_of(key), merged["run"]
        sums = {name: merged[name] for name in ("samples", "covered_us")}
        sums["span_us"] = self._widen(key, {name: merged[name] for name in _HOSTS})
        self.touch(self.rows.merge(window << WINDOW_SHIFT | run << RUN_SHIFT, sums))
        return Spans(pair=key & CODE_MASK, window=window * self._of_base, **merged)

    def fold_late(self, cell: Ints, energy_uj: Ints, water_ul: Ints) -> None:
        """Take what is in the slots but must not be in the rows."""
        self.late.merge(cell, {"energy_uj": energy_uj, "water_ul": water_ul})

    def peak(self, row: Ints, energy_uj: Ints) -> None:
        """Note the energies of 5-s rows, by the key of ours that they are in."""
        unique, peaks = reduce_by_key(row, {"peak_uj": energy_uj}, _ROWS)
        at, known = self.rows.find(unique)
        at, value = at[known], peaks["peak_uj"][known]
        self.rows.put("peak_uj", at, np.maximum(self.rows.take("peak_uj", at), value))

    def touch(self, row: Ints) -> None:
        """These rows changed."""
        self._dirty.append(row)

    def touch_cells(self, cell: Ints) -> None:
        """The rows over these cells changed, as far as there are any."""
        row = row_key(cell)
        row = (window_of(row) // self._of_cells) << WINDOW_SHIFT | row & CODE_MASK
        unique = distinct(row)
        _, known = self.rows.find(unique)
        self._dirty.append(unique[known])

    def touch_runs(self, runs: Ints) -> None:
        """All rows of some runs (codes) changed."""
        self.touch(self.rows.key[np.isin(run_of(self.rows.key), runs)])

    def touch_open(self) -> None:
        """All rows that are not final are to be shown again."""
        self.touch(self.rows.key[self.rows.has("final", 0)])

    def close(self, frontier: Ints, lateness_us: int, run_of_pair: Ints) -> None:
        """Evict what lies behind its run's frontier: such rows are final."""
        due = np.flatnonzero(self.rows.has("final", 0))
        key = self.rows.key[due]
        over = (window_of(key) + 1) * self.width_us + lateness_us <= frontier[run_of(key)]
        if not over.any():
            return
        self.rows.put("final", due[over], 1)
        self.touch(key[over])
        host = self._hosts.key
        host_run = run_of_pair[host & CODE_MASK]
        self._hosts.drop((window_of(host) + 1) * self.width_us + lateness_us <= frontier[host_run])

    def take_dirty(self) -> Ints:
        """The keys of changed rows, ascending, each once; they count as shown from now on."""
        dirty = distinct(np.concatenate(self._dirty)) if self._dirty else np.empty(0, np.int64)
        self._dirty = []
        return dirty

    def forget_before(self, window: int) -> None:
        """Drop what lies before a window of ours, for good."""
        self._forgotten = window
        self._hosts.drop(window_of(self._hosts.key) < window)
        self.rows.drop(window_of(self.rows.key) < window)
        self.late.drop(window_of(self.late.key) < window * self._of_cells)

    def dump(self) -> tuple[Any, ...]:
        """Plain state; nothing may be dirty."""
        return (self.rows.dump(), self.late.dump(), self._hosts.dump())

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        for table, dumped in zip((self.rows, self.late, self._hosts), state, strict=True):
            table.load(dumped)

    def _widen(self, host: Ints, instants: dict[str, Ints]) -> Ints:
        """Merge hosts' first and last instants, by ascending keys; the growth of each one's span."""
        before = self._spans(host)
        self._hosts.merge(host, instants)
        return self._spans(host) - before

    def _spans(self, key: Ints) -> Ints:
        at, known = self._hosts.find(key)
        span = np.zeros(len(key), np.int64)
        hit = at[known]
        span[known] = self._hosts.take("last_us", hit) - self._hosts.take("first_us", hit)
        return span


def fold_spans(widths: Sequence[Windows], spans: Spans, late: Sequence[Bools]) -> None:
    """Fold spans into windows, narrow ones first; *late* says for each width which are: for a wider one never more.

    A wider one takes what the narrower one has added up, which is less, and what was late for that one alone.
    """
    taken = widths[0].fold(spans.chosen(~late[0]) if late[0].any() else spans)
    for windows, narrower, is_late in zip(widths[1:], late, late[1:], strict=False):
        missed = narrower & ~is_late
        taken = windows.fold(taken.joined(spans.chosen(missed)) if missed.any() else taken)
