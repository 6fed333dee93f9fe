"""What an engine writes a job's outlets to: the writing half of a store."""

from collections.abc import Callable, Sequence
from typing import Protocol

from kappawatt.errors import Superseded
from kappawatt.stream.outbox import Outlet, Row

ASK_AGAIN_US = 2_000_000
"""No write is begun longer after the fence was asked for: a process that was held up notices by its clock."""


class Target(Protocol):
    """Tables of rows by key, where a greater version wins: what is written twice is there once.

    Versions of one start are its fence + an owner's flush number, so a new start beats an old or half-dead one as long
    as `raise_fence` leaves room for the flushes of a start: 2^24 do for half a year of epochs of one second.
    """

    def store_id(self) -> str:
        """A random id, as old as the store: kept state of another store is not used."""

    def fence(self) -> int:
        """The fence that was raised last by whomever, 0 if none was.

        A target with transactions can do more: let what is written from here on, up to the end of `flush`, be there
        only if the fence is still this one then.
        """

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


class FenceGuard:
    """Keeps a start from writing when a later one does: asks for the fence before the first write of each epoch.

    What leaves in an epoch was committed before it began. So a start that passes the guard and is held up then has
    only rows under way that a later start, which goes on from that commit, writes as well.

    Args:
        target: Where the start writes.
        fence: That of the start.
        monotonic_us: The clock for `ASK_AGAIN_US`.
    """

    def __init__(self, target: Target, fence: int, monotonic_us: Callable[[], int]) -> None:
        self._target, self._fence, self._monotonic_us = target, fence, monotonic_us
        self._asked_us: int | None = None

    def __repr__(self) -> str:
        return f"<FenceGuard {self._fence}, {'not asked' if self._asked_us is None else 'asked'} in this epoch>"

    def before_write(self) -> None:
        """Return if this start may write.

        Raises:
            Superseded: The fence was raised by a later one.
        """
        now_us = self._monotonic_us()
        if self._asked_us is not None and now_us - self._asked_us <= ASK_AGAIN_US:
            return
        found = self._target.fence()
        if found > self._fence:
            raise Superseded(self._target, self._fence, found)
        self._asked_us = now_us

    def end_epoch(self) -> None:
        """All is written that leaves in this epoch; what comes next is of a later commit."""
        self._asked_us = None
