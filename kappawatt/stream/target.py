"""What an engine writes a job's outlets to: the writing half of a store."""

from collections.abc import Sequence
from typing import Protocol

from kappawatt.stream.outbox import Outlet, Row


class Target(Protocol):
    """Tables of rows by key, where a greater version wins: what is written twice is there once.

    Versions of one start are its fence + an owner's flush number, so a new start beats an old or half-dead one as long
    as `raise_fence` leaves room for the flushes of a start: 2^24 do for half a year of epochs of one second.
    """

    def store_id(self) -> str:
        """A random id, as old as the store: kept state of another store is not used."""

    def raise_fence(self, now_us: int) -> int:
        """Raise the store's fence under a lock to max(now_us, last fence + 2^24) and return it."""

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to upsert rows, whole, unless they are there with a greater version."""

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Start to delete rows by key, unless they are there with a greater version."""

    def flush(self) -> None:
        """Return when all that was started is durable."""


def write_outlet(target: Target, outlet: Outlet, fence: int) -> None:
    """Start to write an outlet's changes; its dead records are the caller's."""
    version = fence + outlet.flush
    for table, keys in outlet.deletes.items():
        target.delete(table, keys, version)
    for table, rows in outlet.rows.items():
        target.write(table, rows, version)
