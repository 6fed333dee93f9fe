"""Connections to Apache Cassandra: the only door to its driver."""

import io
import logging
import os
import ssl
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

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
    BatchMessage,
    ErrorMessage,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ProtocolHandler,
    ServerError,
)
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement, tuple_factory

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    OperationTimedOut,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    WriteTimeout,
)
from kappawatt.errors import StoreError
from kappawatt.stores import Row
from kappawatt.stores.address import Address
from kappawatt.stores.cql_rows import Statement

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

Prepared: TypeAlias = PreparedStatement
Request: TypeAlias = BoundStatement | BatchStatement

_REQUEST_S = 10.0
_CONNECT_S = 9.0
_SCHEMA_S = 60.0
_HOMES = 1 << 16


class Connection:
    """A session with a cluster, with our settings and our errors. Not to be taken across a fork."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._pid = os.getpid()
        self._prepared: dict[str, Prepared] = {}
        self._homes: dict[bytes, Hashable] = {}
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
        self.session.client_protocol_handler = _Protocol

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

    def prepare(self, text: str) -> Prepared:
        """The prepared form of *text*, safe to repeat."""
        if self._pid != os.getpid():
            raise StoreError(f"store {self.address} was opened before this process was forked; open it in the child")
        found = self._prepared.get(text)
        if found is None:
            with self.translated("prepare a statement"):
                found = self._prepared[text] = self.session.prepare(text)
            found.is_idempotent = True
        return found

    def serial(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of a lightweight transaction, or of a read that sees every one that was answered before it."""
        asked = self.prepare(text).bind(values)
        asked.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
        if text.startswith("SELECT"):
            asked.consistency_level = ConsistencyLevel.LOCAL_SERIAL
        else:
            asked.is_idempotent = False  # once more, it would find its own value and say that it was not applied
        with self.translated(text[:60]):
            return list(self.session.execute(asked))

    def home(self, routing_key: bytes) -> Hashable:
        """Equal for partitions that are at the same servers: what is sent together is theirs alone to write."""
        if len(self._homes) > _HOMES:
            self._homes.clear()
        found = self._homes.get(routing_key)
        if found is None:
            replicas = self._cluster.metadata.get_replicas(self.address.keyspace, routing_key)
            found = self._homes[routing_key] = tuple(sorted(map(str, replicas))) or routing_key
        return found

    def send(self, request: Request, done: Callable[[Exception | None], None]) -> None:
        """Send *request*; *done* gets its error, or None, on another thread."""
        self.session.execute_async(request).add_callbacks(lambda _: done(None), done)

    def rows(self, statement: Prepared, values: Sequence[bytes | None]) -> Iterator[Row]:
        """Rows of a statement whose values are bytes already, a page at a time."""
        return iter(self.session.execute(bind(statement, values)))

    @contextmanager
    def translated(self, action: str) -> Iterator[None]:
        """Make the driver's errors ours."""
        try:
            yield
        except Unauthorized as error:
            raise StoreError(
                f"store {self.address} refused ({action}): {_reason(error)}; `kappawatt rights cassandra` tells which "
                "role may what"
            ) from error
        except _PASSING as error:
            raise StoreError(
                f"store {self.address} did not answer ({action}): {_reason(error)}; is Cassandra up there?"
            ) from error
        except _FOREIGN as error:
            raise StoreError(
                f"store {self.address} refused ({action}): {_reason(error)}; if a table or column is missing, "
                "run `kappawatt migrate`"
            ) from error


def passes(error: BaseException | None) -> bool:
    """Whether an error of the driver may pass, so that the same request is worth repeating."""
    return isinstance(error, _PASSING)


def bind(statement: Prepared, values: Sequence[Any]) -> BoundStatement:
    """A statement with values that are bytes already: the driver's own binding is ten times as slow."""
    found = BoundStatement(statement)
    found.values = values
    return found


def together(routing_key: bytes, statements: Sequence[Statement], prepared: Callable[[str], Prepared]) -> Request:
    """One request for all of them: an unlogged batch. *prepared* gives the prepared form of a text."""
    batch = BatchStatement(BatchType.UNLOGGED)
    batch.routing_key, batch.is_idempotent = routing_key, True
    bound = {text: BoundStatement(prepared(text)) for text, _ in statements}
    for text, values in statements:
        one = bound[text]
        one.values = values  # the batch takes it out again at once
        batch.add(one)
    return batch


class _Batch(BatchMessage):  # type: ignore[misc]  # the driver has no types
    """A batch as it goes over the wire, whose statements' values are bytes already, with their count and lengths."""

    def send_body(self, f: Any, protocol_version: int) -> None:
        around = io.BytesIO()
        statements: Any = self.queries
        self.queries: Any = ()
        super().send_body(around, protocol_version)
        self.queries = statements
        kind, rest = around.getvalue()[:1], around.getvalue()[3:]
        pieces = [kind, len(statements).to_bytes(2, "big")]
        for _, query_id, values in statements:
            pieces += (b"\1", len(query_id).to_bytes(2, "big"), query_id, values)
        f.write(b"".join((*pieces, rest)))


class _Protocol(ProtocolHandler):  # type: ignore[misc]  # as above
    """The driver's place for other encodings: it writes value by value, which costs more than all else of a row."""

    @classmethod
    def encode_message(cls, msg: Any, *args: Any, **named: Any) -> bytes:
        if isinstance(msg, BatchMessage):
            plain, msg = msg, _Batch.__new__(_Batch)
            msg.__dict__.update(plain.__dict__)
        found: bytes = super().encode_message(msg, *args, **named)
        return found


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
    first = next(iter(error.errors.values()), error) if isinstance(error, NoHostAvailable) else error
    if isinstance(first, AuthenticationFailed):
        remedy = "correct KAPPAWATT_CASSANDRA_USERNAME and KAPPAWATT_CASSANDRA_PASSWORD"
    elif "CERTIFICATE_VERIFY_FAILED" in str(first):
        remedy = (
            "KAPPAWATT_CASSANDRA_CA_FILE has to name the certificate of who signed the nodes', and the store's URL "
            "addresses that they are for"
        )
    elif isinstance(first, FileNotFoundError | PermissionError | IsADirectoryError):
        remedy = f"KAPPAWATT_CASSANDRA_CA_FILE={address.ca_file} has to be a file that can be read"
    else:
        remedy = (
            "start Cassandra there, or name another store with --store or KAPPAWATT_STORE; "
            "KAPPAWATT_CASSANDRA_USERNAME, _PASSWORD and _CA_FILE say as whom, and turn TLS on"
        )
    return StoreError(f"store {address} cannot be reached: {_reason(error)}; {remedy}")
