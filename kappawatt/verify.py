"""The conservation law over a log and a store: what was sent is counted or listed, and every sum has its parts."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from kappawatt import recount
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.forgotten import origin
from kappawatt.recount import COLUMNS, VERDICTS, Counted, LogReader
from kappawatt.stores import Store

WIDTHS = ("5s", "5m", "1h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One equation that does not hold: what it is about, and both sides."""

    about: str
    law: str
    left: int
    right: int

    def __str__(self) -> str:
        return f"{self.about}: {self.law}: {self.left} ≠ {self.right}"


@dataclass(slots=True)
class Checked:
    """How many equations were checked, and those that do not hold."""

    equations: int = 0
    broken: list[Broken] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)
    """Runs of which an equation does not hold."""
    note: str = ""
    """What could not be checked, and why."""

    def equal(self, about: str, law: str, left: int, right: int, *others: int, run_id: str | None = None) -> None:
        """Check one; *others* are as good as *left*."""
        self.equations += 1
        if right not in (left, *others):
            self.broken.append(Broken(about=about, law=law, left=left, right=right))
            if run_id is not None:
                self.runs.add(run_id)


def verify(store: Store, log: LogReader | None = None, config: LedgerConfig | None = None) -> Checked:
    """All equations of *store*, and the log counted again up to where the store has read it.

    Exact: every side is an integer. The first run that differs is looked at more closely: its first 5-s window that
    differs is named. Rows that their keep-time has removed are missing from the sums, so a store that drops windows is
    checked only over the runs that are younger.

    Args:
        store: The store; nothing writes to it meanwhile.
        log: The log it was made from; None: only the store's own equations.
        config: The numbers that decide about verdicts; None: their defaults.

    Raises:
        LogError: The log cannot be read.
        StoreError: The store cannot be read.
    """
    checked = Checked()
    accounting = {str(row["source_partition"]): row for row in store.scan("accounting")}
    for row in accounting.values():
        _account(checked, row)
    _totals(checked, store)
    if log is None:
        return checked
    config = config or LedgerConfig()
    positions = {name: str(row["position"]) for name, row in accounting.items()}
    counted = list(recount.both(log, positions, config))
    for name in sorted(counted[0].verdicts):
        _partition(checked, name, accounting[name], counted)
    gone = _gone(accounting, counted[0])
    if gone:
        checked.note = f"the energy of runs is not counted again: the log no longer has all of {', '.join(gone[:5])}"
        return checked
    _runs(checked, store, counted)
    if checked.runs:
        run_id = min(checked.runs)
        again = replace(config, rebuilding=_nearest(store, counted, run_id) > 0)
        _windows(checked, store, recount.recount(log, positions, again, run_id=run_id), run_id)
    return checked


def _account(checked: Checked, row: dict[str, Any]) -> None:
    parts = sum(int(row[name]) for name in ("counted", "duplicate", "rejected", "dead"))
    checked.equal(
        f"source partition {row['source_partition']}",
        "sent = counted + duplicate + rejected + dead",
        int(row["sent"]),
        parts,
    )


def _gone(accounting: Mapping[str, dict[str, Any]], counted: Counted) -> list[str]:
    """Source partitions of which the store has read more records than the log still has."""
    there = {name: counted.verdicts.get(name, {}).get("sent", 0) for name in accounting}
    return sorted(name for name, row in accounting.items() if int(row["sent"]) > there[name])


def _partition(checked: Checked, name: str, row: dict[str, Any], counted: list[Counted]) -> None:
    """The log's records have the verdicts that the row says."""
    for verdict in VERDICTS:
        there = [each.verdicts.get(name, {}).get(verdict, 0) for each in counted]
        law = "records in the log = sent" if verdict == "sent" else f"{verdict} in the log = {verdict}"
        checked.equal(f"source partition {name}", law, there[0], int(row[verdict]), *there[1:])


def _runs(checked: Checked, store: Store, counted: list[Counted]) -> None:
    """The energy of the log's counted samples is that of the run's totals, for each kind.

    A run that was forgotten and came again has two: the log knows one name only.
    """
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in store.scan("run_total"):
        totals[origin(str(row["run_id"]))].update({column: int(row[column]) for column in COLUMNS})
    _marks(checked, store, counted)
    for run_id in sorted({*totals, *(run for each in counted for run in each.runs)}):
        sides = [each.runs.get(run_id, (0,) * len(COLUMNS)) for each in counted]
        for number, column in enumerate(COLUMNS):
            there = [side[number] for side in sides]
            have = totals[run_id][column]
            checked.equal(f"run {run_id}", f"Σ log = run_total.{column}", there[0], have, *there[1:], run_id=run_id)


def _marks(checked: Checked, store: Store, counted: list[Counted]) -> None:
    """Each run's energy lies in the same 5-s windows; of runs with late samples that is not known."""
    late = {origin(str(row["run_id"])) for row in store.scan("late")}
    marks: dict[str, int] = {}
    for row in store.scan("run_window_5s"):
        run_id = origin(str(row["run_id"]))
        marks[run_id] = marks.get(run_id, 0) + int(row["energy_uj"]) * recount.weight(int(row["window_start"]))
    for run_id in sorted({*marks, *(run for each in counted for run in each.marks)} - late):
        checked.equations += 1
        if all(marks.get(run_id, 0) != each.marks.get(run_id, 0) for each in counted):
            checked.runs.add(run_id)


def _nearest(store: Store, counted: list[Counted], run_id: str) -> int:
    """Which of the counts comes nearest to the run's total: that of a flow that goes on, or that of a rebuild."""
    totals = (row for row in store.scan("run_total") if origin(str(row["run_id"])) == run_id)
    total = sum(int(row["energy_uj"]) for row in totals)
    away = [abs(total - sum(each.runs.get(run_id, (0,))[:4])) for each in counted]
    return away.index(min(away))


def _windows(checked: Checked, store: Store, counted: Counted, run_id: str) -> None:
    """Name the first 5-s window of *run_id* that has another energy in the store than in the log."""
    if any(origin(str(row["run_id"])) == run_id for row in store.scan("late")):
        return  # which of its windows the late pieces are missing from is not known
    rows = {
        int(row["window_start"]): int(row["energy_uj"])
        for row in store.scan("run_window_5s")
        if origin(str(row["run_id"])) == run_id
    }
    for start in sorted({*rows, *counted.windows}):
        left, right = counted.windows.get(start, 0), rows.get(start, 0)
        if left != right:
            about = f"run {run_id}, window of {datetime.fromtimestamp(start / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
            checked.equal(about, "Σ log = run_window_5s.energy_uj", left, right)
            return


def _totals(checked: Checked, store: Store) -> None:
    """Σ windows + late = total for each width, kinds add up to the energy, and phases to the total."""
    windows = {width: _sums(store.scan(f"run_window_{width}"), "energy_uj") for width in WIDTHS}
    late = {width: _sums(store.scan("late"), f"late_{width}_uj") for width in WIDTHS}
    phases = _sums(store.scan("phase_total"), "energy_uj")
    for total in store.scan("run_total"):
        run_id, energy_uj = str(total["run_id"]), int(total["energy_uj"])
        kinds = sum(int(total[f"{kind}_uj"]) for kind in ("cpu", "gpu", "memory", "other"))
        checked.equal(f"run {run_id}", "energy = cpu + gpu + memory + other", energy_uj, kinds, run_id=run_id)
        for width in WIDTHS:
            parts = windows[width].get(run_id, 0) + late[width].get(run_id, 0)
            checked.equal(f"run {run_id}", f"Σ run_window_{width} + late = total", parts, energy_uj, run_id=run_id)
        if run_id in phases:
            checked.equal(f"run {run_id}", "Σ phases = total", phases[run_id], energy_uj, run_id=run_id)


def _sums(rows: Iterator[dict[str, Any]], column: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[str(row["run_id"])] = sums.get(str(row["run_id"]), 0) + int(row[column] or 0)
    return sums
