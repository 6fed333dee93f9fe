"""Rows in SQLite: a row replaces one of its key with a lower version, so what is written twice is there once."""

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kappawatt.stores import FENCE_STEP

TABLES = {
    "window": (2, "identifier start_ms count sum_mw min_mw max_mw mean_w variance_w2 status"),
    "late": (2, "identifier timestamp_ms value_mw"),
    "accounting": (1, "partition sent counted duplicate rejected dead position"),
    "letter": (2, "partition position verdict reason payload"),
}
"""By table, how many columns are its key, and all of them."""


class Tables:
    """The target of the job: a file of tables that any SQLite client reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("BEGIN IMMEDIATE")
        for name, (key, columns) in TABLES.items():
            names = columns.split()
            primary = ", ".join(names[:key])
            made = f"{', '.join(names)}, version, PRIMARY KEY ({primary})"
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({made}) WITHOUT ROWID")
        self._connection.execute("CREATE TABLE IF NOT EXISTS store (id TEXT, fence INTEGER)")
        if self._connection.execute("SELECT count(*) FROM store").fetchone() == (0,):
            self._connection.execute("INSERT INTO store VALUES (?, 0)", (str(uuid.uuid4()),))
        self._connection.execute("COMMIT")

    def __repr__(self) -> str:
        return f"<Tables {self._path}>"

    def store_id(self) -> str:
        """As old as the file."""
        return str(self._connection.execute("SELECT id FROM store").fetchone()[0])

    def fence(self) -> int:
        """The fence that was raised last; nobody else can raise it before `flush` has written what comes until then."""
        self._begin()
        return int(self._connection.execute("SELECT fence FROM store").fetchone()[0])

    def raise_fence(self, now_us: int) -> int:
        """Above every fence before, in one transaction."""
        query = "UPDATE store SET fence = max(fence + ?, ?) RETURNING fence"
        return int(self._connection.execute(query, (FENCE_STEP, now_us)).fetchall()[0][0])

    def write(self, table: str, rows: Sequence[tuple[Any, ...]], version: int) -> None:
        """Upsert in the transaction that `flush` commits."""
        self._begin()
        self._connection.executemany(_upsert(table), [(*row, version) for row in rows])

    def delete(self, table: str, keys: Sequence[tuple[Any, ...]], version: int) -> None:
        """Delete in the transaction that `flush` commits; this job never asks for it, so older writes may come back."""
        self._begin()
        self._connection.executemany(_delete(table), [(*key, version) for key in keys])

    def flush(self) -> None:
        """Commit."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table by key, without their versions."""
        columns = TABLES[table][1].replace(" ", ", ")
        return self._connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608 our own names

    def close(self) -> None:
        """Close the file; what was not flushed is not kept."""
        self._connection.close()

    def _begin(self) -> None:
        """Hold the file's only write lock from here to `flush`."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")


def _delete(table: str) -> str:
    key, columns = TABLES[table]
    wanted = " AND ".join(f"{name} = ?" for name in columns.split()[:key])
    return f"DELETE FROM {table} WHERE {wanted} AND version < ?"  # noqa: S608 our own names


def _upsert(table: str) -> str:
    key, columns = TABLES[table]
    names = [*columns.split(), "version"]
    values = ", ".join(f"{name} = excluded.{name}" for name in names[key:])
    marks = ", ".join("?" * len(names))
    newer = f"UPDATE SET {values} WHERE excluded.version > {table}.version"
    return f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO {newer}"  # noqa: S608 our own names
