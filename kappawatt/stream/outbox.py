"""What leaves a job: the changes of one flush, and the outbox that holds them until the commit."""

from collections.abc import Sequence
from typing import Any, NamedTuple

Row = tuple[Any, ...]


class Outlet(NamedTuple):
    """One owner's changes. Version of its rows = the start's fence + *flush*; an owner never repeats a flush number.

    dead: records that were not counted, each with its place and reason.
    orders: changes of rows that only the store has, as plain tuples; to obey when all before is written.
    """

    flush: int
    rows: dict[str, list[Row]]
    deletes: dict[str, list[Row]]
    dead: list[Any]
    orders: Sequence[Row] = ()


class Outbox:
    """Changes fixed by a snapshot, part of it, and released in the next epoch, which begins after the commit.

    So the store never shows what a crash could take back, and a restart releases the same again.
    """

    def __init__(self, waiting: Sequence[Any] = (), flushes: int = 0) -> None:
        self._waiting = [Outlet(*each) for each in waiting]
        self._flushes = flushes

    def __repr__(self) -> str:
        return f"<Outbox {len(self._waiting)} waiting, {self._flushes} flushes>"

    def put(
        self,
        rows: dict[str, list[Row]],
        deletes: dict[str, list[Row]],
        dead: Sequence[Any] = (),
        orders: Sequence[Row] = (),
    ) -> None:
        """Fix changes; nothing is kept of an empty one."""
        if rows or deletes or dead or orders:
            self._flushes += 1
            self._waiting.append(Outlet(self._flushes, rows, deletes, list(dead), tuple(map(tuple, orders))))

    def skip(self) -> None:
        """Count changes as `put` does, of which nothing is kept: they were given out before, in an earlier life."""
        self._flushes += 1

    def release(self) -> list[Outlet]:
        """All that is committed."""
        released, self._waiting = self._waiting, []
        return released

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return (tuple(tuple(outlet) for outlet in self._waiting), self._flushes)
