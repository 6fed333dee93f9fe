"""Makes and changes the tables: numbered CQL files in a Cassandra keyspace, additions in an SQLite file."""

import hashlib
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kappawatt.errors import StoreError
from kappawatt.resources import data_dir
from kappawatt.stores import Row, cql
from kappawatt.stores.tables import SCHEMA_VERSION, TABLES

_LOCK_S = 600
"""A migration that died gives its lock back after this time."""

_OWN_TABLES = (
    "CREATE TABLE IF NOT EXISTS schema_migration "
    "(number int PRIMARY KEY, name text, checksum text, applied_at timestamp)",
    "CREATE TABLE IF NOT EXISTS migration_lock (name text PRIMARY KEY, owner text)",
)

DEV_REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
"""One copy of everything: for one machine, not for production."""


class Cassandra(Protocol):
    """What a migration needs of a connection."""

    def execute(self, text: str, values: Sequence[Any] = (), *, timeout_s: float = 10.0) -> list[Row]:
        """Rows of a statement; `%s` stands for a value."""

    def change_schema(self, text: str) -> None:
        """Run a statement, and wait until all nodes agree on the schema."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations(folder: Path | None = None) -> list[Migration]:
    """The files `NNN_verb_noun.cql` of *folder* (the ones that ship), by number.

    Raises:
        StoreError: A name does not fit, or the numbers are not 1, 2, 3 …
    """
    found = []
    for path in sorted((folder or data_dir("cassandra")).glob("*.cql")):
        match = re.fullmatch(r"(\d{3})_[a-z0-9]+(_[a-z0-9]+)+\.cql", path.name)
        if match is None:
            raise StoreError(f"{path.name} is not called NNN_verb_noun.cql; rename it")
        found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    if not found or [one.number for one in found] != list(range(1, len(found) + 1)):
        raise StoreError(f"the CQL files are not numbered 001, 002 …: {', '.join(one.name for one in found) or 'none'}")
    return found


def migrate(url: str, *, create_keyspace: bool = False, replication: str = DEV_REPLICATION) -> list[str]:
    """Bring the store at *url* to the schema that this kappawatt knows; names of what was applied, in order.

    Safe to run again, and by several at once: they wait for each other.

    Args:
        url: Of the store.
        create_keyspace: Make a missing keyspace, with *replication*.
        replication: A CQL map.

    Raises:
        StoreError: The store cannot be reached or changed, or an applied file has since been edited.
    """
    if url.startswith("sqlite:"):
        from kappawatt.stores.sqlite import SqliteStore

        store = SqliteStore(url.removeprefix("sqlite:"))
        store.close()
        return [store.migrated] if store.migrated else []
    from kappawatt.stores.address import Address
    from kappawatt.stores.connection import Connection

    address = Address.parse(url)
    connection = Connection(address)
    try:
        if create_keyspace:
            connection.change_schema(
                f"CREATE KEYSPACE IF NOT EXISTS {address.keyspace} WITH replication = {replication}"
            )
        connection.use_keyspace()
        return apply(connection, migrations())
    finally:
        connection.close()


def apply(connection: Cassandra, files: Sequence[Migration]) -> list[str]:
    """Apply those of *files* that the keyspace does not have; their names.

    Raises:
        StoreError: An applied file has since been edited, or another migration does not end.
    """
    for statement in _OWN_TABLES:
        connection.change_schema(statement)
    with _lock(connection):
        known: dict[int, str] = dict(connection.execute("SELECT number, checksum FROM schema_migration"))
        for file in files:
            if known.get(file.number, file.checksum) != file.checksum:
                raise StoreError(
                    f"{file.name} is not the text that was applied to this store; put the old text back and write "
                    "the change as the next file"
                )
        missing = [file for file in files if file.number not in known]
        for file in missing:
            for statement in cql.statements(file.text):
                connection.change_schema(statement)
            connection.execute(
                "INSERT INTO schema_migration (number, name, checksum, applied_at) "
                "VALUES (%s, %s, %s, toTimestamp(now()))",
                (file.number, file.name, file.checksum),
            )
        _first_facts(connection)
    return [file.name for file in missing]


def check(connection: Cassandra, keyspace: str) -> None:
    """Raise StoreError unless the tables of *keyspace* are those that this kappawatt knows."""
    rows = connection.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,))
    missing = {*TABLES, "meta", "schema_migration"} - {name for (name,) in rows}
    if missing:
        raise StoreError(f"the keyspace {keyspace} lacks the table {min(missing)}; run `kappawatt migrate`")
    version = max((number for (number,) in connection.execute("SELECT number FROM schema_migration")), default=0)
    if version < SCHEMA_VERSION:
        raise StoreError(
            f"the keyspace {keyspace} has schema version {version}, this kappawatt needs {SCHEMA_VERSION}; "
            "run `kappawatt migrate`"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the keyspace {keyspace} has schema version {version}, this kappawatt knows {SCHEMA_VERSION}; "
            "upgrade kappawatt"
        )


def _first_facts(connection: Cassandra) -> None:
    """The store's id and its fence, which only their first writer sets."""
    connection.execute("INSERT INTO meta (name, value) VALUES ('store_id', %s) IF NOT EXISTS", (str(uuid.uuid4()),))
    connection.execute("INSERT INTO meta (name, number) VALUES ('fence', 0) IF NOT EXISTS")


@contextmanager
def _lock(connection: Cassandra) -> Iterator[None]:
    """Hold the keyspace's migration lock; it is given back in the end, and by itself after `_LOCK_S`."""
    owner = f"{socket.gethostname()} {uuid.uuid4()}"
    give_up = time.monotonic() + _LOCK_S + 60
    take = f"INSERT INTO migration_lock (name, owner) VALUES ('schema', %s) IF NOT EXISTS USING TTL {_LOCK_S}"  # noqa: S608
    while not connection.execute(take, (owner,))[0][0]:
        if time.monotonic() > give_up:
            raise StoreError("another `kappawatt migrate` holds the lock of this keyspace; wait for it, or end it")
        time.sleep(0.2)
    try:
        yield
    finally:
        connection.execute("DELETE FROM migration_lock WHERE name = 'schema' IF owner = %s", (owner,))
