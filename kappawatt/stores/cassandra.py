"""The store in Apache Cassandra, and the only door to its driver."""

import logging
import math
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
    UnresolvableContactPoints,
)
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.protocol import (
    ErrorMessage,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
)
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement, PreparedStatement, tuple_factory

from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, ReadTimeout, Unavailable, WriteTimeout
from kappawatt.errors import StoreError
from kappawatt.stores import FENCE_STEP, Row, cql, migrations
from kappawatt.stores.address import Address
from kappawatt.stores.flight import Done, Flight
from kappawatt.stores.tables import TABLES, Table

_PASSING = (
    OperationTimedOut,
    WriteTimeout,
    ReadTimeout,
    Unavailable,
    NoHostAvailable,
    ConnectionException,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)
_FOREIGN = (DriverException, ErrorMessage, NoHostAvailable, UnresolvableContactPoints, ConnectionException, OSError)

_REQUEST_S = 10.0
_CONNECT_S = 9.0
_SCHEMA_S = 60.0
_FENCE_S = 60.0
_PREPARE_PAUSE_S = 0.5


class Connection:
    """A session with a cluster, with our settings and our errors. Not to be taken across a fork."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._pid = os.getpid()
        self._prepared: dict[str, PreparedStatement] = {}
        _hush()
        try:
            self._cluster = _cluster(address)
        except (OSError, *_FOREIGN) as error:
            raise _unreachable(address, error) from error
        try:
            self.session: Session = self._cluster.connect()
        except _FOREIGN as error:
            self._cluster.shutdown()
            raise _unreachable(address, error) from error

    def close(self) -> None:
        """End the session; a forked child leaves its parent's alone."""
        if self._pid == os.getpid():
            self._cluster.shutdown()

    def use_keyspace(self) -> None:
        """Make the address's keyspace the one of unqualified names.

        Raises:
            StoreError: There is none.
        """
        if not self.execute("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", self._name):
            raise StoreError(
                f"store {self.address}: there is no keyspace {self.address.keyspace}; "
                "run `kappawatt migrate --create-keyspace`"
            )
        with self.translated("use the keyspace"):
            self.session.set_keyspace(self.address.keyspace)

    @property
    def _name(self) -> tuple[str]:
        return (self.address.keyspace,)

    def execute(self, text: str, values: Sequence[Any] = (), *, timeout_s: float = _REQUEST_S) -> list[Row]:
        """Rows of a statement that is used seldom; `%s` stands for a value."""
        with self.translated(text.split("(")[0].strip()[:60]):
            return list(self.session.execute(text, tuple(values) or None, timeout=timeout_s))

    def change_schema(self, text: str) -> None:
        """Run a statement that changes the schema, and wait until all nodes agree on it."""
        with self.translated("change the schema"):
            future = self.session.execute_async(text, timeout=_SCHEMA_S)
            future.result()
        if not future.is_schema_agreed:
            raise StoreError(
                f"store {self.address}: the nodes do not agree on the schema; see `nodetool describecluster`"
            )

    def prepare(self, text: str) -> PreparedStatement:
        """The prepared form of *text*, safe to repeat."""
        if self._pid != os.getpid():
            raise StoreError(f"store {self.address} was opened before this process was forked; open it in the child")
        found = self._prepared.get(text)
        if found is None:
            with self.translated("prepare a statement"):
                found = self._prepared[text] = self.session.prepare(text)
            found.is_idempotent = True
        return found

    @contextmanager
    def translated(self, action: str) -> Iterator[None]:
        """Make the driver's errors ours."""
        try:
            yield
        except _PASSING as error:
            raise StoreError(
                f"store {self.address} did not answer ({action}): {_reason(error)}; is Cassandra up there?"
            ) from error
        except _FOREIGN as error:
            raise StoreError(
                f"store {self.address} refused ({action}): {_reason(error)}; if a table or column is missing, "
                "run `kappawatt migrate`"
            ) from error


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
        self._flight: Flight[Any] = Flight(str(address), self._start, _passes, retry_s=retry_s)
        self._writers = {name: cql.Writer(table, UNSET_VALUE) for name, table in TABLES.items()}

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
        for batch in self._writers[table].requests(rows, version):
            self._flight.send(_request([_bound(self._prepare(text), values) for text, values in batch]))

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key; see `Store.delete`."""
        found = TABLES[table]
        erase = self._prepare(cql.delete(found))
        for key in keys:
            self._flight.send(_bound(erase, cql.deletion(found, key, version)))

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

    def raise_fence(self, now_us: int) -> int:
        """Raise the fence by a compare-and-set that is tried again until it is ours; see `Store.raise_fence`."""
        give_up = time.monotonic() + _FENCE_S
        session = self._connected().session
        read = self._serial("SELECT number FROM meta WHERE name = 'fence'")
        change = self._serial("UPDATE meta SET number = ? WHERE name = 'fence' IF number = ?")
        while True:
            with self._connected().translated("raise the fence"):
                try:
                    last = session.execute(read).one()[0]
                    fence = max(now_us, last + FENCE_STEP)
                    if session.execute(change, (fence, last)).was_applied:
                        return int(fence)
                except _PASSING:
                    # Whether it was applied is not known; the next read tells, and nobody was given this fence.
                    if time.monotonic() > give_up:
                        raise

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

    def _prepare(self, text: str) -> PreparedStatement:
        """The prepared form of *text*; waits, as writes do, while nothing answers."""
        connection = self._connected()
        give_up = time.monotonic() + (math.inf if self._retry_s is None else self._retry_s)
        while True:
            try:
                return connection.prepare(text)
            except StoreError as error:
                if not isinstance(error.__cause__, _PASSING) or time.monotonic() >= give_up:
                    raise
                self._flight.warn(error)
                time.sleep(_PREPARE_PAUSE_S)

    def _start(self, request: Any, done: Done) -> None:
        future = self._connected().session.execute_async(request)
        future.add_callbacks(lambda _: done(None), done)

    def _serial(self, text: str) -> BoundStatement:
        statement = self._connected().session.prepare(text)
        statement.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
        if text.startswith("SELECT"):
            statement.consistency_level = ConsistencyLevel.LOCAL_SERIAL
        return statement

    def _rows(self, table: Table, text: str, values: list[bytes | None]) -> Iterator[dict[str, Any]]:
        connection = self._connected()
        with connection.translated(f"read {table.name}"):
            yield from cql.dicts(table, connection.session.execute(_bound(connection.prepare(text), values)))


def _passes(error: Exception) -> bool:
    return isinstance(error, _PASSING)


def _bound(statement: PreparedStatement, values: Sequence[Any]) -> BoundStatement:
    """A statement with values that are bytes already: the driver's own binding is ten times as slow."""
    bound = BoundStatement(statement)
    bound.values = values
    return bound


def _request(statements: Sequence[BoundStatement]) -> BoundStatement | BatchStatement:
    if len(statements) == 1:
        return statements[0]
    batch = BatchStatement(BatchType.UNLOGGED)
    for statement in statements:
        batch.add(statement)
    batch.is_idempotent = True
    return batch


def _cluster(address: Address) -> Cluster:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=_REQUEST_S,
        row_factory=tuple_factory,
    )
    auth = None
    if address.username is not None:
        auth = PlainTextAuthProvider(username=address.username, password=address.password or "")
    return Cluster(
        contact_points=list(address.hosts),
        port=address.hosts[0][1],
        auth_provider=auth,
        ssl_context=ssl.create_default_context(cafile=address.ca_file) if address.ca_file else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        # The driver's default doubles its pause up to ten minutes; a store that is back should be used at once.
        reconnection_policy=ConstantReconnectionPolicy(1.0, max_attempts=None),
        protocol_version=4,
        connect_timeout=_CONNECT_S / len(address.hosts),
        control_connection_timeout=_REQUEST_S,
        max_schema_agreement_wait=_SCHEMA_S,
    )


def _hush() -> None:
    """What the driver logs comes back as an error or as our own warning, unless someone asked for it."""
    log = logging.getLogger("cassandra")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)


def _reason(error: Exception) -> str:
    """The error in one line; of several hosts' errors, the first."""
    if isinstance(error, NoHostAvailable) and error.errors:
        host, first = next(iter(error.errors.items()))
        return f"{host}: {first}"
    if isinstance(error, UnresolvableContactPoints):
        return "its name cannot be resolved"
    return " ".join(str(error).split()) or type(error).__name__


def _unreachable(address: Address, error: Exception) -> StoreError:
    return StoreError(
        f"store {address} cannot be reached: {_reason(error)}; start Cassandra there, or name another store with "
        "--store or KAPPAWATT_STORE; user, password and TLS come from KAPPAWATT_CASSANDRA_USERNAME, _PASSWORD, _CA_FILE"
    )
