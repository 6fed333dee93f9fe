"""The conservation law over a log and a store: what was sent is counted or listed, and every sum has its parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kappawatt.log import urls
from kappawatt.log.files import FileLog
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

    equations: int
    broken: list[Broken]

    def equal(self, about: str, law: str, left: int, right: int) -> None:
        """Check one."""
        self.equations += 1
        if left != right:
            self.broken.append(Broken(about=about, law=law, left=left, right=right))


def verify(store: Store, log: FileLog | None = None) -> Checked:
    """All equations of *store*, and of what it has read of *log*. Exact: every side is an integer.

    Rows that their keep-time has removed are missing from the sums, so a store that drops windows is checked only over
    the runs that are younger.
    """
    checked = Checked(0, [])
    for row in store.scan("accounting"):
        _account(checked, row)
    if log is not None:
        _log(checked, store, log)
    _totals(checked, store)
    return checked


def _account(checked: Checked, row: dict[str, Any]) -> None:
    parts = sum(int(row[name]) for name in ("counted", "duplicate", "rejected", "dead"))
    checked.equal(
        f"source partition {row['source_partition']}",
        "sent = counted + duplicate + rejected + dead",
        int(row["sent"]),
        parts,
    )


def _log(checked: Checked, store: Store, log: FileLog) -> None:
    """As many records lie before a partition's position as its row says were sent."""
    for row in store.scan("accounting"):
        partition = str(row["source_partition"]).removeprefix("sample/")
        if partition not in log.partitions("sample"):
            continue
        name, _, offset = str(row["position"]).rpartition(":")
        there = _records_before(log, partition, name, int(offset or 0))
        checked.equal(f"source partition {partition}", "records in the log = sent", there, int(row["sent"]))


def _records_before(log: FileLog, partition: str, name: str, offset: int) -> int:
    """Records of *partition*, readable or not, before byte *offset* of file *name*."""
    reader, position, count = log.partition("sample", partition), None, 0
    while True:
        chunk = reader.read(position)
        inside = [chunk.file < name or (chunk.file == name and at < offset) for at in chunk.position.tolist()]
        torn = [bad for bad in chunk.bad if (bad[0], bad[1]) < (name, offset)]
        count += inside.count(True) + len(torn)
        if chunk.at_end or chunk.next == position or not all(inside):
            return count
        position = chunk.next


def _totals(checked: Checked, store: Store) -> None:
    """Σ windows + late = total for each width, kinds add up to the energy, and phases to the total."""
    windows = {width: _sums(store.scan(f"run_window_{width}"), "energy_uj") for width in WIDTHS}
    late = {width: _sums(store.scan("late"), f"late_{width}_uj") for width in WIDTHS}
    phases = _sums(store.scan("phase_total"), "energy_uj")
    for total in store.scan("run_total"):
        run_id, energy_uj = str(total["run_id"]), int(total["energy_uj"])
        kinds = sum(int(total[f"{kind}_uj"]) for kind in ("cpu", "gpu", "memory", "other"))
        checked.equal(f"run {run_id}", "energy = cpu + gpu + memory + other", energy_uj, kinds)
        for width in WIDTHS:
            parts = windows[width].get(run_id, 0) + late[width].get(run_id, 0)
            checked.equal(f"run {run_id}", f"Σ run_window_{width} + late = total", parts, energy_uj)
        if run_id in phases:
            checked.equal(f"run {run_id}", "Σ phases = total", phases[run_id], energy_uj)


def _sums(rows: Iterator[dict[str, Any]], column: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[str(row["run_id"])] = sums.get(str(row["run_id"]), 0) + int(row[column] or 0)
    return sums


def file_log(url: str) -> FileLog | None:
    """The file log behind *url*; None for one in Kafka, of which only the store's side is checked."""
    place = urls.parse(url)
    return FileLog(place.directory) if isinstance(place, urls.FileUrl) else None
