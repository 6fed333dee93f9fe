"""The oracle: the rows that the store must hold at the end of a log, computed the slow and obvious way.

Written from docs/semantics.md alone; every reading of it that could be argued is listed in README.md beside this file.
"""

from typing import Any

from tests.oracle.cells import Cells, Covered, cover, coverage, device_columns
from tests.oracle.model import KEYS, W1H, W5M, W5S, WIDTHS, Log, Parameters, Record, Row, Table, Tables, utc_date
from tests.oracle.prices import UJ_PER_KWH, PriceBook, Sum, intensity_rows, own_site_water, priced
from tests.oracle.runs import Phases, by_run, list_row, metric_rows, pue_of, run_row, wue_of
from tests.oracle.verdicts import accounting, judge, refuse_late

FOREVER = 1 << 62
"""A window width that holds every instant in its window 0."""


def expected_tables(log: Log, parameters: Parameters | None = None) -> Tables:
    """Every table at the end of a log (`flow --until-end`), as key → columns, `version` left out.

    Raises:
        CouldBeLate: A sample would be late in some order of reading.
    """
    parameters = parameters or Parameters()
    verdicts = judge(log, parameters)
    refuse_late(log, verdicts, parameters)
    return Ledger(log, parameters, verdicts.counted).tables() | {"accounting": accounting(log, verdicts)}


class Ledger:
    """The cells of a log with its prices and events, and the tables made of them."""

    def __init__(self, log: Log, parameters: Parameters, counted: list[Record]) -> None:
        self.parameters = parameters
        self.book = PriceBook(log.intensity, parameters)
        self.events = by_run(log.run_events)
        self.cells = Cells(counted)
        self.runs = sorted(self.cells.runs)
        self._of_run: dict[str, list[tuple[str, int, list[int]]]] = {run: [] for run in self.runs}
        for (run, zone), windows in self.cells.cells.items():
            self._of_run[run] += [(zone, window * W5S, parts) for window, parts in windows.items()]
        self.pue = {run: pue_of(self.events.get(run, [])) for run in self.runs}
        self.wue = {run: wue_of(self.events.get(run, [])) for run in self.runs}

    def tables(self) -> Tables:
        """All tables but accounting."""
        known = sorted({*self.runs, *self.events})
        fleet_us = self._fleet_us
        rows = [
            run_row(run, self.events.get(run, []), self.cells.runs.get(run), fleet_us, self.parameters.lease_us)
            for run in known
        ]
        tables: Tables = {"late": {}, "restatement": {}, "alert": {}}
        tables["run"] = _keyed("run", rows)
        tables["runs_by_date"] = _keyed("runs_by_date", [list_row(row) for row in rows if row["run_id"][0] != "~"])
        tables["run_metric"] = metric_rows(self.events)
        tables["intensity"] = intensity_rows(self.book)
        tables["run_total"] = _keyed("run_total", [self._total(run) for run in self.runs])
        for name, width in WIDTHS.items():
            tables[name] = _keyed(name, [row for run in self.runs for row in self._windows(run, width)])
        tables["phase_total"] = _keyed("phase_total", [row for run in self.runs for row in self._phases(run)])
        tables["zone_window_1h"] = _keyed("zone_window_1h", self._zones())
        tables["device_window_5m"] = _keyed("device_window_5m", self._devices())
        return tables

    @property
    def _fleet_us(self) -> int | None:
        """How far the fleet has come: the greatest counted end; None: nothing was counted."""
        ends = [total.last_end for total in self.cells.runs.values()]
        told = [] if self.parameters.told_us is None else [self.parameters.told_us]
        return max(ends + told, default=None)

    def _sums(self, run: str, width: int) -> dict[int, Sum]:
        """The run's cells added up by windows of a width, over all zones."""
        sums: dict[int, Sum] = {}
        for zone, start, parts in self._of_run[run]:
            sums.setdefault(start // width, Sum()).add(parts, (self.book.at(zone, start), self.pue[run]))
        return sums

    def _priced(self, run: str, row: Sum) -> Row:
        site = own_site_water(row.energy_uj, row.water_ul, self.wue[run])
        return row.energies() | priced(row.groups, site, self.book)

    def _windows(self, run: str, width: int) -> list[Row]:
        power = self._power(run, width)
        covered: dict[int, dict[str, Covered]] = {}
        for window, hosts in self.cells.covered[run].items():
            target = covered.setdefault(window * W5S // width, {})
            for host, (length, first, last) in hosts.items():
                cover(target, host, length, first, last)
        starts: dict[int, int] = {}
        for window, count in self.cells.starts[run].items():
            number = window * W5S // width
            starts[number] = starts.get(number, 0) + count
        return [
            self._priced(run, row)
            | {
                "run_id": run,
                "date": utc_date(window * width),
                "window_start": window * width,
                "samples": starts.get(window, 0),
                "coverage": coverage(covered[window].values()),
                "power_w_max": power[window],
                "final": True,
            }
            for window, row in self._sums(run, width).items()
        ]

    def _power(self, run: str, width: int) -> dict[int, float]:
        """The greatest 5-s mean power inside each window of a width."""
        greatest: dict[int, float] = {}
        for window, row in self._sums(run, W5S).items():
            number = window * W5S // width
            greatest[number] = max(greatest.get(number, 0.0), row.energy_uj / 5_000_000)
        return greatest

    def _total(self, run: str) -> Row:
        total = self.cells.runs[run]
        everything = self._sums(run, FOREVER)[0]
        return (
            self._priced(run, everything)
            | total.known
            | {
                "run_id": run,
                "samples": total.samples,
                "coverage": coverage(total.covered.values()),
                "power_w_max": max(self._power(run, W5S).values()),
                "memory_bytes_max": max(total.memory_bytes, default=None),
                "gpus": len(total.gpus),
                "hosts": len(total.covered),
                "first_start": total.first_start,
                "last_end": total.last_end,
            }
        )

    def _phases(self, run: str) -> list[Row]:
        total = self.cells.runs[run]
        phases = Phases(self.events.get(run, []))
        if not phases.any:
            return []
        durations: dict[str, int] = {}
        for start, end, phase in phases.parts(total.first_start, total.last_end):
            durations[phase] = durations.get(phase, 0) + end - start
        sums: dict[str, Sum] = {}
        for zone, low, parts in self._of_run[run]:
            group = (self.book.at(zone, low), self.pue[run])
            first, last = max(low, total.first_start), min(low + W5S, total.last_end)
            for start, end, phase in phases.parts(first, last):
                length = last - first
                share = [part * (end - first) // length - part * (start - first) // length for part in parts]
                sums.setdefault(phase, Sum()).add(share, group)
        return [
            {"run_id": run, "phase": phase, "duration_us": durations.get(phase, 0)} | self._priced(run, row)
            for phase, row in sums.items()
        ]

    def _zones(self) -> list[Row]:
        shares: dict[tuple[str, int], dict[str, Sum]] = {}
        for run in self.runs:
            for zone, start, parts in self._of_run[run]:
                of_run = shares.setdefault((zone, start // W1H), {}).setdefault(run, Sum())
                of_run.add(parts, (self.book.at(zone, start), self.pue[run]))
        return [self._zone(zone, window, of_runs) for (zone, window), of_runs in shares.items()]

    def _zone(self, zone: str, window: int, of_runs: dict[str, Sum]) -> Row:
        whole = Sum()
        measured_ul = 0
        by_wue: dict[float, int] = {}
        for run, row in of_runs.items():
            whole.parts = [one + other for one, other in zip(whole.parts, row.parts, strict=True)]
            for group, energy in row.groups.items():
                whole.groups[group] = whole.groups.get(group, 0) + energy
            wue = self.wue[run]
            if row.water_ul > 0:
                measured_ul += row.water_ul
            elif wue is not None:
                by_wue[wue] = by_wue.get(wue, 0) + row.energy_uj
        site = [energy / UJ_PER_KWH * wue for wue, energy in by_wue.items()]
        site += [measured_ul / 1e6] if measured_ul > 0 else []
        start = window * W1H
        key = {"zone": zone, "date": utc_date(start), "window_start": start, "runs": len(of_runs), "final": True}
        return whole.energies() | priced(whole.groups, site, self.book) | key

    def _devices(self) -> list[Row]:
        rows: list[Row] = []
        for (run, host, window), devices in self.cells.devices.items():
            start = window * W5M
            key = {"run_id": run, "date": utc_date(start), "host": host, "window_start": start}
            rows += [key | {"device": device} | device_columns(row) for device, row in devices.items()]
        return rows


def _keyed(table: str, rows: list[dict[str, Any]]) -> Table:
    return {tuple(row[column] for column in KEYS[table]): row for row in rows}
