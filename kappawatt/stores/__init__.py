"""The store: what readers ask. `open_store(url)` gives the one behind `sqlite:PATH` or `cassandra://host:port/keyspace`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from kappawatt.errors import StoreError

Row = tuple[Any, ...]
"""One row, in the order of `Table.columns`."""

FENCE_STEP = 1 << 24
"""Least distance of two fences: a process may flush that often before its versions reach those of the next start."""


class Store(Protocol):
    """Tables with versioned upserts. Two implementations, one contract test suite.

    A row is replaced as a whole by one of a greater version, and left alone by one of a smaller; writing the same
    again changes nothing. Not safe for use by several threads.
    """

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert *rows*, whole. Durable only after `flush`, in no order before it.

        A key comes at most once a version: of two rows with one version either may stay. Doubles are finite, key
        columns have a value, and no id is longer than 65,535 bytes.
        """

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key (in the order of `Table.key`), unless they have a greater version.

        A deleted key stays deleted against rows of this version and older ones.
        """

    def flush(self) -> None:
        """Return when all that was started is durable; retries what may pass, raises StoreError for what will not."""

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
        """The rows of one partition in clustering order, `version` included.

        Instants come back as written, but floored to a millisecond by Cassandra.

        Args:
            table: Name of the table.
            partition: A value for every column of its partition key.
            since: Least value of its first clustering column, inclusive.
            until: Greatest one, inclusive.
            newest_first: In reversed clustering order.
            limit: At most so many rows.
        """

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a table, in no order: for `verify` and tests."""

    def fence(self) -> int:
        """The fence that was raised last by whomever, 0 if none was.

        SQLite holds what follows to it: a `flush` after which the store would have rows of a session whose fence was
        raised by another one meanwhile writes nothing and raises Superseded. Cassandra only says what it is now.
        """

    def raise_fence(self, now_us: int) -> int:
        """Raise the store's fence under a lock to max(now_us, last fence + 2^24) and return it."""

    def store_id(self) -> str:
        """A random id made when the tables were made."""

    def close(self) -> None:
        """Give back what is held; what was not flushed may be lost."""


def open_store(url: str, *, read_only: bool = False) -> Store:
    """The store behind *url*. SQLite tables are made or migrated; those of Cassandra are only checked.

    Args:
        url: `sqlite:PATH` or `cassandra://HOST:PORT[,HOST:PORT]/KEYSPACE`.
        read_only: Make and change nothing; there must be a store.

    Raises:
        StoreError: The address is not understood or does not answer, with the remedy.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from kappawatt.stores.sqlite import SqliteStore

        return SqliteStore(rest, read_only=read_only)
    if scheme == "cassandra":
        from kappawatt.stores.cassandra import CassandraStore

        store = CassandraStore.from_url(url)
        store.check()
        return store
    raise StoreError(f"store {url!r}: unknown kind {scheme!r}; use sqlite:PATH or cassandra://HOST:PORT/KEYSPACE")
