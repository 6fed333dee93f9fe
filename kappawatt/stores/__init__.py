"""The store: what readers ask. `open_store(url)` gives the one behind `sqlite:PATH` or `cassandra://host:port/keyspace`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
"""One row, in the order of `Table.columns`."""


class Store(Protocol):
    """Tables with versioned upserts. Two implementations, one contract test suite.

    A row is replaced as a whole by one of a greater version, and left alone by one of a smaller; writing the same
    again changes nothing. Not safe for use by several threads.
    """

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert *rows*, whole. Durable only after `flush`."""

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key (in the order of `Table.key`), unless they have a greater version."""

    def flush(self) -> None:
        """Return when all that was started is durable; retries what may pass, raises StoreError for what will not."""

    def read(self, table: str, partition: Mapping[str, Any], *, limit: int | None = None) -> list[dict[str, Any]]:
        """The rows of one partition in clustering order, `version` included."""

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a table, in no order: for `verify` and tests."""

    def raise_fence(self, now_us: int) -> int:
        """Raise the store's fence under a lock to max(now_us, last fence + 2^24) and return it."""

    def store_id(self) -> str:
        """A random id made when the tables were made."""

    def close(self) -> None:
        """Give back what is held; what was not flushed may be lost."""


def open_store(url: str) -> Store:
    """The store behind *url*, with its tables migrated.

    Raises:
        StoreError: The address is not understood or does not answer, with the remedy.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from kappawatt.stores.sqlite import SqliteStore

        return SqliteStore(rest)
    if scheme == "cassandra":
        from kappawatt.stores.cassandra import CassandraStore

        return CassandraStore.from_url(url)
    from kappawatt.errors import StoreError

    raise StoreError(f"store {url!r}: unknown kind {scheme!r}; use sqlite:PATH or cassandra://HOST:PORT/KEYSPACE")
