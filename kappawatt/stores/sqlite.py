"""The store in one SQLite file: for a laptop, for tests, and for anyone who wants to ask in SQL."""

import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappawatt.errors import StoreError, Superseded
from kappawatt.stores import FENCE_STEP, Row, sql
from kappawatt.stores.tables import SCHEMA_VERSION, TABLES, Kind, Table

_log = logging.getLogger(__name__)

_BUSY_S = 5.0
_SPILL_ROWS = 50_000
"""Changes kept in memory before they are written without waiting for `flush`: some 50 MB at most."""


@dataclass(frozen=True, slots=True)
class _Change:
    table: Table
    rows: Sequence[Row]
    version: int
    deletes: bool


class SqliteStore:
    """A `Store` in the SQLite file *path*; several processes may have it open, and write, at once.

    Changes wait in memory and are written by `flush` in one transaction, so that nobody holds the file's only write
    lock while it waits for others. A flush is on disk when it returns (WAL, synchronous FULL: one fsync a flush).
    May be handed from thread to thread, but used by one at a time.

    Args:
        path: The file; made, with its folder, unless *read_only*.
        read_only: Reads only, and the file must be there.
        retry_s: How long `flush` waits for another writer's lock before it gives up; None waits for ever.

    Raises:
        StoreError: There is no store (read only), or it is not one, or a newer kappawatt made it.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, retry_s: float | None = None) -> None:
        if not str(path):
            raise StoreError("store 'sqlite:' names no file; use sqlite:PATH, for example sqlite:kappawatt.db")
        self.path = Path(path).expanduser().absolute()
        self._read_only = read_only
        self._retry_s = retry_s
        self._pending: list[_Change] = []
        self._pending_rows = 0
        self._held_to: int | None = None
        self.migrated: str | None = None
        """What opening it has changed: None, or the new schema version in words."""
        self._db = self._connect()
        try:
            with self._translated("open"):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path}, {self._pending_rows} rows not flushed>"

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert *rows*, whole; see `Store.write`."""
        self._add(_Change(TABLES[table], list(rows), version, deletes=False))

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key; see `Store.delete`."""
        self._add(_Change(TABLES[table], list(keys), version, deletes=True))

    def flush(self) -> None:
        """Write what waits, in one transaction.

        Raises:
            StoreError: A value does not fit, the file cannot be written, or *retry_s* passed without its lock.
            Superseded: Another session raised the fence since this one asked for it or raised it; nothing is written.
        """
        if not self._pending:
            return
        with self._transaction():
            self._check_fence()
            buried = {name for (name,) in self._db.execute("SELECT DISTINCT table_name FROM tombstone")}
            for change in self._pending:
                if change.deletes:
                    buried.add(change.table.name)
                    self._delete(change)
                else:
                    self._upsert(change, change.table.name in buried)
        self._pending.clear()
        self._pending_rows = 0

    def read(
        self,
        table: str,
        partition: Mapping[str, Any],
        *,
        since: int | str | None = None,
        until: int | str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of one partition; see `Store.read`."""
        found = TABLES[table]
        found.check_partition(partition)
        bounds = {"since_": since, "until_": until, "limit_": limit}
        asked = {name for name, value in bounds.items() if value is not None}
        text = sql.select(found, asked, newest_first=newest_first)
        with self._translated(f"read {table}"):
            return list(_dicts(found, self._db.execute(text, {**partition, **bounds})))

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of *table*, in key order."""
        found = TABLES[table]
        with self._translated(f"scan {table}"):
            yield from _dicts(found, self._db.execute(sql.select_all(found)))

    def fence(self) -> int:
        """The fence that was raised last; a `flush` from now on looks, in its transaction, whether it still is."""
        with self._translated("read the fence"):
            self._held_to = int(self._meta("fence"))
        return self._held_to

    def raise_fence(self, now_us: int) -> int:
        """Raise the fence in a transaction of its own; holds `flush` to it as `fence` does. See `Store.raise_fence`."""
        with self._transaction():
            fence = max(now_us, int(self._meta("fence")) + FENCE_STEP)
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'fence'", (fence,))
        self._held_to = fence
        return fence

    def store_id(self) -> str:
        """A random id made with the file."""
        with self._translated("read meta"):
            return str(self._meta("store_id"))

    def close(self) -> None:
        """Close the file; what was not flushed is lost."""
        self._pending.clear()
        self._pending_rows = 0
        self._db.close()

    def _add(self, change: _Change) -> None:
        if self._read_only:
            raise StoreError(f"store sqlite:{self.path} is open for reading only; open it without read_only to write")
        self._pending.append(change)
        self._pending_rows += len(change.rows)
        if self._pending_rows >= _SPILL_ROWS:
            self.flush()

    def _connect(self) -> sqlite3.Connection:
        if self._read_only and not self.path.exists():
            raise StoreError(f"no store yet at {self.path}; start the flow (`kappawatt flow`), it makes one")
        try:
            if not self._read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            return sqlite3.connect(
                f"{self.path.as_uri()}?mode={'ro' if self._read_only else 'rwc'}",
                uri=True,
                timeout=_BUSY_S if self._retry_s is None else min(_BUSY_S, self._retry_s),
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"store sqlite:{self.path} cannot be opened: {error}; choose a file in a folder that this user may use"
            ) from error

    def _prepare(self) -> None:
        if self._read_only:
            self._check(self._version())
            return
        # More than one process may make the file at the same time, and the change to WAL does not heed the timeout.
        self._patiently("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA cache_size = -65536")
        if self._version() == SCHEMA_VERSION:
            return
        with self._transaction():
            version = self._version()
            if version is not None:
                self._check(version, oldest=0)
            self._make_tables()

    def _version(self) -> int | None:
        """Schema version of the file; None while it has no table at all."""
        names = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not names:
            return None
        if not {"meta", "run_total"} <= names:
            raise StoreError(f"{self.path} is an SQLite file of something else; name another file for the store")
        return int(self._meta("schema_version"))

    def _meta(self, name: str) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]

    def _check(self, version: int | None, oldest: int = SCHEMA_VERSION) -> None:
        if version is None:
            raise StoreError(f"no store yet at {self.path}; start the flow (`kappawatt flow`), it makes one")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"store sqlite:{self.path} has schema version {version}, this kappawatt knows {SCHEMA_VERSION}; "
                "upgrade kappawatt, or name another file"
            )
        if version < oldest:
            raise StoreError(
                f"store sqlite:{self.path} has schema version {version}, this kappawatt needs {SCHEMA_VERSION}; "
                "run `kappawatt migrate`"
            )

    def _make_tables(self) -> None:
        """Make what is missing, tables and columns; within a transaction."""
        for statement in (*sql.OWN_TABLES, *map(sql.create, TABLES.values())):
            self._db.execute(statement)
        for table in TABLES.values():
            present = {row[1] for row in self._db.execute(f"PRAGMA table_info({table.name})")}
            for name in table.columns:
                if name not in present:
                    self._db.execute(sql.add_column(table, name))
        first = (("store_id", str(uuid.uuid4())), ("fence", 0))
        self._db.executemany("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", first)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (SCHEMA_VERSION,))
        self.migrated = f"SQLite schema version {SCHEMA_VERSION}"

    def _check_fence(self) -> None:
        """Within the transaction that writes: so no row gets in below a fence that another session was given."""
        if self._held_to is not None and (found := int(self._meta("fence"))) > self._held_to:
            raise Superseded(self, self._held_to, found)

    def _upsert(self, change: _Change, has_deleted: bool) -> None:
        rows, version, table = change.rows, change.version, change.table
        if has_deleted:
            rows = [row for row in rows if not self._is_deleted(table, row, version)]
        try:
            self._db.executemany(sql.upsert(table), ((*row, version) for row in rows))
        except (OverflowError, UnicodeEncodeError) as error:
            raise _misfit(table, rows, error) from error

    def _is_deleted(self, table: Table, row: Row, version: int) -> bool:
        key = json.dumps(list(row[: len(table.key)]))
        text = "SELECT 1 FROM tombstone WHERE table_name = ? AND key = ? AND version >= ?"
        return self._db.execute(text, (table.name, key, version)).fetchone() is not None

    def _delete(self, change: _Change) -> None:
        name = change.table.name
        self._db.executemany(
            sql.delete(change.table),
            ((*key, change.version) for key in change.rows),
        )
        self._db.executemany(
            "INSERT INTO tombstone VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
            ((name, json.dumps(list(key)), change.version) for key in change.rows),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One write transaction, retried until it may begin; rolled back as a whole by any error."""
        if self._read_only:
            raise StoreError(f"store sqlite:{self.path} is open for reading only; open it without read_only to write")
        with self._translated("write"):
            self._patiently("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _patiently(self, statement: str) -> None:
        """Run *statement*, again and again while another connection holds the lock; says so once."""
        start = time.monotonic()
        warned = False
        while True:
            try:
                self._db.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
            waited_s = time.monotonic() - start
            if self._retry_s is not None and waited_s >= self._retry_s:
                raise StoreError(
                    f"store sqlite:{self.path} has been locked by another program for {waited_s:.0f} s; "
                    "end that program"
                )
            time.sleep(0.01)
            if not warned and waited_s >= _BUSY_S:
                _log.warning("store sqlite:%s is locked by another program; waiting for it", self.path)
                warned = True

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        """Make SQLite's errors ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"store sqlite:{self.path}: cannot {action}: {error}; {_remedy(error)}") from error


def _remedy(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "free some space and start again"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "end the program that holds its lock"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return "it is damaged or not a store: move it away, and `kappawatt flow --rebuild` makes it anew from the log"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return "this user must be able to write the file and its folder"
    return "see `kappawatt doctor`"


def _misfit(table: Table, rows: Sequence[Row], error: Exception) -> StoreError:
    for row in rows:
        for (name, kind), value in zip(table.columns.items(), row, strict=True):
            about = f"{table.name}.{name} of {', '.join(map(str, row[: len(table.key)]))!a}"
            if kind in sql.WHOLE and value is not None and not -(1 << 63) <= value < 1 << 63:
                return StoreError(
                    f"{about} is {value}, beyond the 64 bits of SQLite (2^63 µJ is 2.56 GWh); "
                    "use a Cassandra store for runs of this size"
                )
            if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
                return StoreError(f"{about} is {value!a}, which is not Unicode text; correct its source")
    return StoreError(f"a value for {table.name} does not fit: {error}")


def _dicts(table: Table, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    names = (*table.columns, "version")
    booleans = [name for name, kind in table.columns.items() if kind is Kind.BOOLEAN]
    for row in rows:
        found = dict(zip(names, row, strict=True))
        for name in booleans:
            found[name] = None if found[name] is None else bool(found[name])
        yield found
