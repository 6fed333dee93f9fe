"""What must be true of the store after every commit, and of what it shows in between."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from kappawatt.ledger.repricing import TABLE, Reprice, repriced
from kappawatt.stores.tables import TABLES
from kappawatt.stream.outbox import Outlet
from kappawatt.testing import MemoryStore
from tests.oracle.model import W5S, Dead, Log, Parameters
from tests.oracle.verdicts import fault
from tests.simulation.world import Account, energies

FIRST = ("0", "1")
"""The partitions that are there from the beginning."""
KINDS = ("cpu_uj", "gpu_uj", "memory_uj", "other_uj")
WIDTHS = {"run_window_5s": "late_5s_uj", "run_window_5m": "late_5m_uj", "run_window_1h": "late_1h_uj"}
AT = {name: {column: index for index, column in enumerate(table.columns)} for name, table in TABLES.items()}


class Broken(AssertionError):  # noqa: N818 - a fact about a history
    """A law does not hold."""


def require(holds: bool, *about: Any) -> None:
    """Fail with what it is about."""
    if not holds:
        raise Broken(" ".join(map(str, about)))


class Shown:
    """What the store may show: the fold of all outlets that left in finished epochs, and for now those under way.

    An outlet is known by its owner and flush number, and is the same each time it leaves: what leaves is committed.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._outlets: dict[tuple[str, int], Any] = {}
        self._newest: dict[str, int] = {}
        self._rows: dict[str, dict[Any, Any]] = {name: {} for name in TABLES}
        self._maybe: dict[str, dict[Any, list[Any]]] = {name: defaultdict(list) for name in TABLES}
        self._versions: dict[str, dict[Any, int]] = {name: {} for name in TABLES}
        self.checked = 0

    def leave(self, outlets: list[tuple[str, Outlet]]) -> None:
        """Outlets are under way."""
        for owner, outlet in outlets:
            identity = (owner, outlet.flush)
            content = (outlet.rows, outlet.deletes, tuple(outlet.orders))
            if identity in self._outlets:
                require(self._outlets[identity] == content, "flush", outlet.flush, "of", owner, "was another before")
            else:
                newest = self._newest.get(owner, 0)
                require(outlet.flush > newest, owner, "gives flush", outlet.flush, "after", newest)
                self._outlets[identity] = content
                self._newest[owner] = outlet.flush
            for table, rows in outlet.rows.items():
                for row in rows:
                    self._maybe[table][self._key(table, row)].append(tuple(row))
            for table, keys in outlet.deletes.items():
                for key in keys:
                    self._maybe[table][tuple(key)].append(None)
            for key, row in self._obeyed(outlet, under_way=True):
                self._maybe[TABLE][key].append(row)

    def arrive(self, outlets: list[tuple[str, Outlet]]) -> None:
        """They are durable: the store shows these rows and no others."""
        for _, outlet in outlets:
            for table, keys in outlet.deletes.items():
                for key in keys:
                    self._rows[table].pop(tuple(key), None)
                    self._maybe[table].pop(tuple(key), None)
            for table, rows in outlet.rows.items():
                for row in rows:
                    self._rows[table][self._key(table, row)] = tuple(row)
                    self._maybe[table].pop(self._key(table, row), None)
            for key, row in self._obeyed(outlet, under_way=False):
                self._rows[TABLE][key] = row
                self._maybe[TABLE].pop(key, None)
        self.check()

    def new_life(self) -> None:
        """The state is lost and the log is read anew: rows of the earlier life stand until they are written again."""
        for table in TABLES:
            for key, (row, _) in self._store.content(table).items():
                self._maybe[table][key].append(row)
            self._rows[table] = {}
        self._outlets, self._newest = {}, {}

    def check(self) -> None:
        """Every row is committed, and no version went back."""
        for table, rows in self._rows.items():
            content, versions, maybe = self._store.content(table), self._versions[table], self._maybe[table]
            self.checked += len(content)
            for key, (row, version) in content.items():
                if row != rows.get(key):
                    require(row in maybe.get(key, ()), table, key, "shows", row, "committed is", rows.get(key))
                require(version >= versions.get(key, version), table, key, "went back to version", version)
                versions[key] = version
            if len(content) < len(rows):
                gone = [key for key in rows if key not in content and None not in maybe.get(key, ())]
                require(not gone, table, "lacks", gone[:3])

    def _obeyed(self, outlet: Outlet, *, under_way: bool) -> list[tuple[Any, Any]]:
        """The rows that an outlet's orders make of those that are there."""
        found = []
        names = TABLES[TABLE].columns
        for order in (Reprice(*each) for each in outlet.orders):
            there = {key: rows[-1] for key, rows in self._maybe[TABLE].items() if rows[-1]} if under_way else {}
            rows = [
                dict(zip(names, row, strict=True))
                for key, row in {**self._rows[TABLE], **there}.items()
                if key[:2] == order[:2] and order.since_us <= key[2] <= order.until_us
            ]
            made = [tuple(row[name] for name in names) for row in repriced(order, rows)]
            found += [(self._key(TABLE, row), row) for row in made]
        return found

    @staticmethod
    def _key(table: str, row: Any) -> Any:
        return tuple(row[: len(TABLES[table].key)])


def conservation(store: MemoryStore) -> None:
    """Σ windows + late = total for each width, kinds add up, phases add up; sent = its verdicts."""
    content = {name: [row for row, _ in store.content(name).values()] for name in (*WIDTHS, "late", "phase_total")}
    sums = {name: by_run(name, content[name], "energy_uj") for name in WIDTHS}
    late = {column: by_run("late", content["late"], column) for column in WIDTHS.values()}
    phases = by_run("phase_total", content["phase_total"], "energy_uj")
    total_at = AT["run_total"]
    for row, _ in store.content("run_total").values():
        run, energy = row[0], row[total_at["energy_uj"]]
        require(energy == sum(row[total_at[kind]] for kind in KINDS), "kinds of", run, "do not add up", row)
        for name, column in WIDTHS.items():
            parts = sums[name].get(run, 0) + late[column].get(run, 0)
            require(parts == energy, f"Σ {name} + late of", run, "is", parts, "total is", energy)
        require(phases.get(run, energy) == energy, "Σ phases of", run, "is", phases.get(run), "total is", energy)
    at = AT["accounting"]
    for row, _ in store.content("accounting").values():
        parts = sum(row[at[name]] for name in ("counted", "duplicate", "rejected", "dead"))
        require(row[at["sent"]] == parts, "verdicts do not add up:", row)


def by_run(table: str, rows: list[Any], column: str) -> dict[str, int]:
    """Sums of a column."""
    at, sums = AT[table][column], defaultdict(int)
    for row in rows:
        sums[row[0]] += row[at]
    return dict(sums)


def prefixes(store: MemoryStore, accounts: Mapping[str, Account]) -> dict[str, int]:
    """Each partition's counters are those of the records before its position; the positions."""
    at, positions = AT["accounting"], {}
    for row, _ in store.content("accounting").values():
        name = row[0].removeprefix("sample/")
        if not row[at["sent"]]:
            continue
        position = positions[name] = int(row[at["position"]])
        for column in ("sent", "counted", "duplicate", "rejected", "dead"):
            expected = getattr(accounts[name], column)[position]
            require(row[at[column]] == expected, f"{column} of partition", name, "is", row[at[column]], "not", expected)
    return positions


def zones(store: MemoryStore, energy_uj: int) -> None:
    """The zone rows hold what the totals held one commit ago: they are made of what the shards showed then."""
    at = AT["zone_window_1h"]["energy_uj"]
    shown = sum(row[at] for row, _ in store.content("zone_window_1h").values())
    require(shown == energy_uj, "zone rows hold", shown, "the totals held", energy_uj)


def lateness(store: MemoryStore, log: Log, lateness_us: int) -> None:
    """While no partition is idle, only what its own partition has passed by the lateness is late."""
    late = {(row[2], row[3]) for row, _ in store.content("late").values()}
    for name in FIRST:  # before one that came later is read, nobody waits for it
        newest = 0
        for record in log.samples[name]:
            if isinstance(record, Dead) or fault(record, Parameters(), None):
                continue
            evicted_us = (record["start"] // W5S + 1) * W5S + lateness_us
            if evicted_us > newest and (record["collector_id"], record["seq"]) in late:
                raise Broken(f"{record['collector_id']} seq {record['seq']} of partition {name} is listed as late")
            newest = max(newest, record["end"])


def totals(store: MemoryStore, accounts: dict[str, Account], positions: dict[str, int]) -> int:
    """Each run's total is the counted energy of exactly the records before the positions; the energy of all."""
    shown = by_run("run_total", [row for row, _ in store.content("run_total").values()], "energy_uj")
    expected = energies(accounts, positions)
    require(shown == expected, "totals are", shown, "the log has", expected)
    return sum(shown.values())
