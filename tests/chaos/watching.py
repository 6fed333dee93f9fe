"""What a reader of the store sees while the flow is killed: only committed states, so nothing ever goes back."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from kappawatt.errors import KappawattError
from kappawatt.stores import Store, open_store
from kappawatt.stores.tables import TABLES

RISING: Mapping[str, tuple[str, ...]] = {
    "run_total": ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj", "samples", "last_end"),
    "accounting": ("sent", "counted", "duplicate", "rejected", "dead"),
    "run": ("last_seen",),
}
"""Columns that only grow: no correction makes them smaller. Emissions and prices may be restated either way."""


class Watcher(threading.Thread):
    """Polls whole tables and keeps what went wrong: a version or a cumulative column that fell, a row that vanished."""

    def __init__(self, store_url: str, *, every_s: float = 0.4) -> None:
        super().__init__(name="watcher", daemon=True)
        self.looks = 0
        self.steps = 0
        """How many times a row was seen to change."""
        self.wrong: list[str] = []
        self._url, self._every_s = store_url, every_s
        self._seen: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}
        self._end = threading.Event()

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(60)

    def run(self) -> None:
        store = open_store(self._url, read_only=True)
        try:
            while not self._end.is_set():
                try:
                    self._look(store)
                except KappawattError:
                    continue  # the server is away: that is another test's subject
                self._end.wait(self._every_s)
        except Exception as error:
            self.wrong.append(f"the watcher failed: {error!r}")
        finally:
            store.close()

    def _look(self, store: Store) -> None:
        for table, rising in RISING.items():
            rows = {tuple(row[name] for name in TABLES[table].key): row for row in store.scan(table)}
            known = {key for name, key in self._seen if name == table}
            self.wrong += [f"{table} {key}: the row vanished" for key in known - rows.keys()]
            for key, row in rows.items():
                before = self._seen.get((table, key))
                if before is not None:
                    self._compare(f"{table} {key}", rising, before, row)
                self._seen[table, key] = row
                if table == "accounting":
                    self._law(key, row)
        self.looks += 1

    def _compare(self, name: str, rising: tuple[str, ...], before: dict[str, Any], row: dict[str, Any]) -> None:
        if row["version"] == before["version"]:
            if row != before:
                self.wrong.append(f"{name}: changed within version {row['version']}")
            return
        self.steps += 1
        self.wrong += [
            f"{name}: {column} went from {before[column]} to {row[column]}"
            for column in ("version", *rising)
            if row[column] < before[column]
        ]

    def _law(self, key: tuple[Any, ...], row: dict[str, Any]) -> None:
        if row["sent"] != row["counted"] + row["duplicate"] + row["rejected"] + row["dead"]:
            self.wrong.append(f"accounting {key}: {row}")


def contents(store_url: str) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """Every row of every table by its key, versions included."""
    store = open_store(store_url, read_only=True)
    try:
        return {
            name: {tuple(row[column] for column in table.key): row for row in store.scan(name)}
            for name, table in TABLES.items()
        }
    finally:
        store.close()


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Each row that is not what it was, versions included, in words."""
    found = []
    for table, rows in before.items():
        for key in sorted(rows.keys() | after[table].keys(), key=repr):
            old, new = rows.get(key), after[table].get(key)
            if old != new:
                found.append(f"{table} {key}: {old} became {new}")
    return found


def pause(seconds: float) -> None:
    """Let a fault last; what is waited for after it is a condition."""
    time.sleep(seconds)
