"""The store in Apache Cassandra."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kappawatt.errors import StoreError
from kappawatt.stores import FENCE_STEP, Row, cql, migrations
from kappawatt.stores.address import Address
from kappawatt.stores.connection import Connection, Prepared, Request, bind, passes, together
from kappawatt.stores.cql_rows import Writer
from kappawatt.stores.flight import Done, Flight
from kappawatt.stores.tables import TABLES, Table

Answer = TypeVar("Answer")

_FENCE_S = 60.0
_PAUSE_S = 0.5
_FENCE = "SELECT number FROM meta WHERE name = 'fence'"
_RAISE = "UPDATE meta SET number = ? WHERE name = 'fence' IF number = ?"


class CassandraStore:
    """A `Store` in a Cassandra keyspace, connected at first use.

    A row replaces an older one as a whole, since every write carries its version as write timestamp and either has a
    value for every column or, for a row with nulls, deletes first what is older. (Nulls as such would do too, but each
    is a tombstone that reads must step over, and servers warn from 1,000 of them on.) Instants are kept to the
    millisecond.

    Args:
        address: Where, and as whom.
        retry_s: How long writes are repeated while nothing answers; None for ever, after one warning.
    """

    def __init__(self, address: Address, *, retry_s: float | None = None) -> None:
        self.address = address
        self._retry_s = retry_s
        self._connection: Connection | None = None
        self._flight: Flight[Request] = Flight(str(address), self._start, passes, retry_s=retry_s)
        self._writers = {name: Writer(table) for name, table in TABLES.items()}

    @classmethod
    def from_url(
        cls, url: str, environ: Mapping[str, str] | None = None, *, retry_s: float | None = None
    ) -> "CassandraStore":
        """The store at *url*, not yet connected; see `Address.parse`."""
        return cls(Address.parse(url, environ), retry_s=retry_s)

    def __repr__(self) -> str:
        state = "not connected" if self._connection is None else repr(self._flight)
        return f"<CassandraStore {self.address}, {state}>"

    def check(self) -> None:
        """Connect, and raise StoreError unless the tables are those that this kappawatt knows."""
        migrations.check(self._connected(), self.address.keyspace)

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert *rows*, whole; waits while too many are on their way. See `Store.write`."""
        for routing_key, statements in self._writers[table].requests(rows, version, self._connected().home):
            self._flight.send(together(routing_key, statements, self._prepare))

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key; see `Store.delete`."""
        found = TABLES[table]
        erase = self._prepare(cql.delete(found))
        for key in keys:
            self._flight.send(bind(erase, cql.deletion(found, key, version)))

    def flush(self) -> None:
        """Return when a local quorum has everything; see `Store.flush`."""
        self._flight.drain()

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
        return list(self._rows(found, *cql.query(found, partition, since, until, newest_first, limit)))

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of *table*, a page at a time, in the order of the ring."""
        found = TABLES[table]
        return self._rows(found, cql.select_all(found), [])

    def fence(self) -> int:
        """The fence that was raised last, by a read that no raised one escapes; waits, as writes do.

        What is written after it may still get in below a fence that is raised meanwhile: see `Store.fence`.
        """
        return int(self._patiently(lambda connection: connection.serial(_FENCE))[0][0])

    def raise_fence(self, now_us: int) -> int:
        """Raise the fence by a compare-and-set that is tried again until it is ours; see `Store.raise_fence`."""
        give_up = time.monotonic() + _FENCE_S
        connection = self._connected()
        while True:
            try:
                last = connection.serial(_FENCE)[0][0]
                fence = max(now_us, last + FENCE_STEP)
                if connection.serial(_RAISE, (fence, last))[0][0]:
                    return int(fence)
            except StoreError as error:
                # Whether it was applied is not known; the next read tells, and nobody was given this fence.
                if not passes(error.__cause__) or time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE_S)

    def store_id(self) -> str:
        """A random id made with the tables."""
        return str(self._connected().execute("SELECT value FROM meta WHERE name = 'store_id'")[0][0])

    def close(self) -> None:
        """End the connection; what was not flushed may be lost."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = Connection(self.address)
            try:
                connection.use_keyspace()
            except StoreError:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, text: str) -> Prepared:
        return self._patiently(lambda connection: connection.prepare(text))

    def _patiently(self, ask: Callable[[Connection], Answer]) -> Answer:
        """The answer of *ask*; waits, as writes do, while nothing answers."""
        connection = self._connected()
        give_up = time.monotonic() + (math.inf if self._retry_s is None else self._retry_s)
        while True:
            try:
                return ask(connection)
            except StoreError as error:
                if not passes(error.__cause__) or time.monotonic() >= give_up:
                    raise
                self._flight.warn(error)
                time.sleep(_PAUSE_S)

    def _start(self, request: Request, done: Done) -> None:
        self._connected().send(request, done)

    def _rows(self, table: Table, text: str, values: list[bytes | None]) -> Iterator[dict[str, Any]]:
        connection = self._connected()
        with connection.translated(f"read {table.name}"):
            yield from cql.dicts(table, connection.rows(connection.prepare(text), values))
