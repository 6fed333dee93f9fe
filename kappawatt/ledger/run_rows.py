"""The rows about whole runs: `run`, `run_total`, `phase_total`, `run_metric`, `runs_by_date`."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kappawatt.ledger.forgotten import is_of_host
from kappawatt.ledger.phases import durations, line_of
from kappawatt.ledger.priced import price_rows
from kappawatt.ledger.prices import PriceBook, site_water
from kappawatt.ledger.repricing import Reprice
from kappawatt.ledger.rows import Row, dates
from kappawatt.ledger.runs import Event, Run, Sums, energy_columns
from kappawatt.ledger.zones import ZoneHour
from kappawatt.wire.records import DeadLetter

_LARGE = 1 << 62
"""Sums of so much energy may not fit into columns: 1.3 TWh."""


@dataclass(slots=True)
class Flush:
    """What changed since the last flush, ready for the store; keys to delete are in the order of `Table.key`."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    deletes: dict[str, list[Row]] = field(default_factory=dict)
    zones: list[ZoneHour] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    orders: list[Reprice] = field(default_factory=list)
    """To obey after the rows of earlier flushes are in the store."""
    quiet: bool = False
    """All was given out before: rows that are many need not be made."""
    skipped: bool = False
    """Whether any were not."""

    def skips(self, what: Sized) -> bool:
        """Whether the rows of these, if there are any, need not be made."""
        self.skipped |= self.quiet and len(what) > 0
        return self.quiet

    def __bool__(self) -> bool:
        return bool(self.rows or self.deletes or self.zones or self.dead or self.orders or self.skipped)

    def put(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows of a table."""
        found = list(rows)
        if found:
            self.rows.setdefault(table, []).extend(found)

    def drop(self, table: str, keys: Iterable[Row]) -> None:
        """Add keys to delete from a table."""
        found = list(keys)
        if found:
            self.deletes.setdefault(table, []).extend(found)


def put_metric(flush: Flush, run_id: str, event: Event) -> None:
    """The row of an event that carries metrics, or ends an epoch."""
    metrics = event.values.get("metrics") or {}
    if not metrics and event.type != "epoch":
        return
    day = dates(np.array([event.at]))[0]
    known = [metrics.get(name) for name in ("loss", "accuracy", "samples", "tokens")]
    flush.put("run_metric", [(run_id, day, event.at, event.event_id, event.type, event.values.get("epoch"), *known)])


def put_runs(flush: Flush, runs: Sequence[tuple[str, Run]], prices: PriceBook) -> None:
    """What is known of runs and their totals; those that collectors make up (`~host`) are not listed."""
    if not flush.skips(runs):
        flush.put("run", (run.run_row(run_id) for run_id, run in runs))
        counted = [(run_id, run) for run_id, run in runs if run.samples]
        columns = sums_columns([run for _, run in counted], prices)
        flush.put("run_total", (run.total_row(name, each) for (name, run), each in zip(counted, columns, strict=True)))
    for run_id, run in runs:
        if not is_of_host(run_id):
            _put_listed(flush, run_id, run)


def put_phases(flush: Flush, run_id: str, run: Run, prices: PriceBook, open_: Mapping[str, Sums]) -> None:
    """The phases' shares of all the run's cells; *open_*: those of cells that are not closed."""
    line = line_of(run)
    if line is None:
        return
    names = tuple(sorted(run.shares.keys() | open_.keys()))
    found = {name: run.shares.get(name, Sums()).plus(open_.get(name)) for name in names}
    held = durations(run, line)
    pue, wue = run.pue, run.wue_l_per_kwh
    flush.put("phase_total", ((run_id, n, held.get(n, 0), *found[n].columns(prices, pue, wue)) for n in names))
    flush.drop("phase_total", ((run_id, name) for name in run.phases if name not in found))
    run.phases = names


def sums_columns(runs: Sequence[Run], prices: PriceBook) -> list[tuple[Any, ...]]:
    """`Sums.columns` of the sums of each run, for many at once: a run has a price for every five minutes and zone."""
    sums = [run.sums for run in runs]
    if any(sum(each.energy_uj) >= _LARGE for each in sums):
        return [run.sums.columns(prices, run.pue, run.wue_l_per_kwh) for run in runs]
    heads = [energy_columns(each.energy_uj) for each in sums]
    site = [
        (*site_water(run.sums.water_ul, total, run.wue_l_per_kwh), np.nan)[0]
        for run, (total, *_) in zip(runs, heads, strict=True)
    ]
    priced = price_rows(
        prices.columns(),
        len(sums),
        np.repeat(np.arange(len(sums)), [len(each.groups) for each in sums]),
        np.array([price for each in sums for price in each.groups], np.int64),
        np.array([energy for each in sums for energy in each.groups.values()], np.int64),
        np.array([run.pue for run in runs]),
        np.array(site),
    )
    rows = zip(heads, zip(*priced, strict=True), strict=True)
    return [(total, *by_kind, estimated, *row) for (total, by_kind, estimated), row in rows]


def _put_listed(flush: Flush, run_id: str, run: Run) -> None:
    """Keep the run's row in `runs_by_date`, whose key moves when an earlier start becomes known."""
    started, shown = run.list_row(run_id)
    if started is None:
        return
    row = (dates(np.array([started]))[0], started, run_id, *shown)
    if run.listed == row:
        return
    if run.listed is not None and run.listed[:3] != row[:3]:
        flush.drop("runs_by_date", [run.listed[:3]])
    flush.put("runs_by_date", [row])
    run.listed = row
