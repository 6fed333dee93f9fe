"""A store in memory, with the versions, tombstones and waiting writes of the real ones."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kappawatt.errors import StoreError
from kappawatt.stores import FENCE_STEP, Row
from kappawatt.stores.tables import TABLES, Kind, Table

Key = tuple[Any, ...]
_NOTHING = -1 << 63
_TYPES: Mapping[Kind, type | tuple[type, ...]] = {
    Kind.TEXT: str,
    Kind.BIGINT: int,
    Kind.VARINT: int,
    Kind.DOUBLE: (float, int),
    Kind.INSTANT: int,
    Kind.DATE: str,
    Kind.BOOLEAN: bool,
}


@dataclass(frozen=True, slots=True)
class _Change:
    table: str
    rows: Sequence[Row]
    version: int
    deletes: bool


class MemoryStore:
    """Tables in memory that outlive their sessions, as a database outlives its clients.

    `open` gives a session: a `Store` whose writes wait until `flush`. A session that is crashed loses what waits, or,
    as a database far away may have it, keeps any part of it.

    Args:
        tables: The tables that rows may go to; the product's by default.
    """

    def __init__(self, tables: Mapping[str, Table] = TABLES) -> None:
        self.tables = tables
        self._types = {name: [_TYPES[kind] for kind in table.columns.values()] for name, table in tables.items()}
        self._rows: dict[str, dict[Key, tuple[Row, int]]] = {name: {} for name in tables}
        self._buried: dict[str, dict[Key, int]] = {name: {} for name in tables}
        self._fence = 0
        self.written = 0
        """Rows and deletes that were made durable so far, those that changed nothing included."""

    def __repr__(self) -> str:
        return f"<MemoryStore {sum(map(len, self._rows.values()))} rows, fence {self._fence}>"

    def open(self) -> "MemorySession":
        """A client of it."""
        return MemorySession(self)

    def content(self, table: str) -> dict[Key, tuple[Row, int]]:
        """Row and version by key."""
        return dict(self._rows[self.table(table).name])

    def table(self, name: str) -> Table:
        """One of the tables.

        Raises:
            KeyError: There is none of that name.
        """
        if name not in self.tables:
            raise KeyError(f"no table {name!r}; there are {', '.join(sorted(self.tables))}")
        return self.tables[name]

    @property
    def fence(self) -> int:
        """The one that was raised last."""
        return self._fence

    def raise_fence(self, now_us: int) -> int:
        """As `Store.raise_fence`."""
        self._fence = max(now_us, self._fence + FENCE_STEP)
        return self._fence

    def apply(self, table: str, rows: Sequence[Row], version: int, *, deletes: bool) -> None:
        """Make a change durable: each row only over one of a smaller version."""
        description = self.table(table)
        kept, buried = self._rows[table], self._buried[table]
        for row in rows:
            if not self._fits(table, row, len(description.key) if deletes else len(description.columns)):
                raise _misfit(description, row, deletes)
            self.written += 1
            key = tuple(row[: len(description.key)])
            shown = kept[key][1] if key in kept else _NOTHING
            if deletes:
                buried[key] = max(version, buried.get(key, _NOTHING))
                if shown <= version:
                    kept.pop(key, None)
            elif version > max(shown, buried.get(key, _NOTHING)):
                kept[key] = (tuple(row), version)

    def _fits(self, table: str, row: Row, wide: int) -> bool:
        if len(row) != wide or None in row[: len(self.tables[table].key)]:
            return False
        if not all(
            value is None or isinstance(value, kind) for value, kind in zip(row, self._types[table], strict=False)
        ):
            return False
        if any(not -(1 << 63) <= value < 1 << 63 for value in row if type(value) is int):
            return False
        return all(value.isascii() or _is_text(value) for value in row if type(value) is str)


class MemorySession:
    """A client of a `MemoryStore`: a `Store`."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self._waiting: list[_Change] = []

    def __repr__(self) -> str:
        return f"<MemorySession {len(self._waiting)} changes waiting, {self.store!r}>"

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert; see `Store.write`."""
        self._waiting.append(_Change(self.store.table(table).name, list(rows), version, False))

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete; see `Store.delete`."""
        self._waiting.append(_Change(self.store.table(table).name, list(keys), version, True))

    def flush(self) -> None:
        """Make durable what waits."""
        for change in self._waiting:
            self.store.apply(change.table, change.rows, change.version, deletes=change.deletes)
        self._waiting = []

    def crash(self, durable: float, rng: random.Random) -> None:
        """Lose what waits, but for about the share *durable* of its rows, in any order."""
        changes = [(change, row) for change in self._waiting for row in change.rows]
        rng.shuffle(changes)
        for change, row in changes:
            if rng.random() < durable:
                self.store.apply(change.table, [row], change.version, deletes=change.deletes)
        self._waiting = []

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
        """The rows of one partition in clustering order; see `Store.read`."""
        description = self.store.table(table)
        description.check_partition(partition)
        rows = [row for row in self.scan(table) if all(row[name] == value for name, value in partition.items())]
        if description.clustering:
            first = description.clustering[0]
            rows = [row for row in rows if since is None or row[first] >= since]
            rows = [row for row in rows if until is None or row[first] <= until]
        return (rows[::-1] if newest_first else rows)[:limit]

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a table, in key order, `version` included."""
        names = self.store.table(table).columns
        for _, (row, version) in sorted(self.store.content(table).items()):
            yield dict(zip(names, row, strict=True)) | {"version": version}

    def fence(self) -> int:
        """As `Store.fence`: like Cassandra, it writes below a fence that is raised after it."""
        return self.store.fence

    def raise_fence(self, now_us: int) -> int:
        """As `Store.raise_fence`."""
        return self.store.raise_fence(now_us)

    def store_id(self) -> str:
        """The same for every session."""
        return f"memory-{id(self.store)}"

    def close(self) -> None:
        """What was not flushed is lost."""
        self._waiting = []


def _is_text(value: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def _misfit(table: Table, row: Row, deletes: bool) -> StoreError:
    names = table.key if deletes else tuple(table.columns)
    if len(row) != len(names):
        return StoreError(f"{table.name}: {len(row)} values were given for {len(names)} columns: {', '.join(names)}")
    shown = ", ".join(f"{table.name}.{name}={value!a}" for name, value in zip(names, row, strict=True))
    return StoreError(f"a value does not fit its column, or a key column has none: {shown}")
