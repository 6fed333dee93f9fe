"""Rows as requests to Cassandra, values in the bytes of its protocol, column by column. Knows no driver.

A row of 25 columns costs 3 µs so; the driver needs 40 to bind one and 10 to write its values one by one.
"""

import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from kappawatt.errors import StoreError
from kappawatt.stores import Row
from kappawatt.stores.cql import ENCODE, UNFIT, delete, encode, insert
from kappawatt.stores.tables import Kind, Table

_BYTES = 4096  # servers warn from 5 KiB on
_STATEMENTS = 32
_PARTITIONS = 10  # servers warn of more

_INT = struct.Struct(">i").pack
_COUNT = struct.Struct(">H").pack
_LONG = struct.Struct(">iq").pack
_DOUBLE = struct.Struct(">id").pack
_UNSET = b"\xff\xff\xff\xfe"
"""In place of a value: the column is left as it is."""

Statement = tuple[str, bytes]
"""A statement's text, and its values as the protocol has them: how many, then each with its length before it."""


class Request(NamedTuple):
    """Statements that are sent as one, and the routing key of the first."""

    routing_key: bytes
    statements: list[Statement]


def _framed(encoder: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def frame(value: Any) -> bytes:
        found = encoder(value)
        return _INT(len(found)) + found

    return frame


_FRAME: dict[Kind, Callable[[Any], bytes]] = {
    **{kind: _framed(encoder) for kind, encoder in ENCODE.items()},
    Kind.TEXT: lru_cache(maxsize=1 << 14)(_framed(ENCODE[Kind.TEXT])),  # names come again and again
    Kind.DATE: lru_cache(maxsize=4096)(_framed(ENCODE[Kind.DATE])),
    Kind.BIGINT: lambda value: _LONG(8, value),
    Kind.DOUBLE: lambda value: _DOUBLE(8, value),
    Kind.INSTANT: lambda value: _LONG(8, value // 1000),
}


def _together(key: bytes) -> Hashable:
    """Where there is one server, all partitions are at home there."""
    return None


class _Open:
    """A request that is being filled."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.partitions: dict[bytes, None] = {}
        self.size = 0

    def has_room(self, key: bytes, size: int) -> bool:
        if self.size + size > _BYTES or len(self.statements) >= _STATEMENTS:
            return not self.statements
        return key in self.partitions or len(self.partitions) < _PARTITIONS

    def request(self) -> Request:
        return Request(next(iter(self.partitions)), self.statements)


class Writer:
    """Makes the requests that upsert rows of one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._names = list(table.columns)
        self._frames = [_FRAME[kind] for kind in table.columns.values()]
        self._insert, self._erase = insert(table), delete(table)

    def __repr__(self) -> str:
        return f"<Writer of {self._table.name}>"

    def requests(
        self, rows: Sequence[Row], version: int, home: Callable[[bytes], Hashable] = _together
    ) -> Iterator[Request]:
        """Requests of some 4 KiB and ten partitions at most; a row's statements stay together.

        A row without nulls overwrites every column. One with nulls first deletes what is older than *version*, in the
        same request: of all that a request has for one partition the server makes one mutation.

        Args:
            rows: Rows in the order of the columns.
            version: Their version, which is their write timestamp as well.
            home: Where it gives the same for two partitions (by routing key), they may share a request.

        Raises:
            StoreError: A value does not fit its column.
        """
        open_: dict[Hashable, _Open] = {}
        for key, statements, size in self._by_row(rows, version):
            at = home(key)
            filled = open_.get(at)
            if filled is None or not filled.has_room(key, size):
                if filled is not None:
                    yield filled.request()
                filled = open_[at] = _Open()
            filled.statements += statements
            filled.partitions[key] = None
            filled.size += size
        for filled in open_.values():
            yield filled.request()

    def _by_row(self, rows: Sequence[Row], version: int) -> Iterator[tuple[bytes, list[Statement], int]]:
        """Of each row its routing key, its statements, and about how many bytes they are."""
        keys, parts = len(self._table.key), len(self._table.partition)
        stamp, before = _LONG(8, version), _LONG(8, version - 1)
        many, erased = _COUNT(len(self._names) + 2), _COUNT(keys + 1)
        for row, values in zip(rows, zip(*self._columns(rows), strict=True), strict=True):
            framed = b"".join((many, *values, stamp, stamp))
            routing = values[0][4:] if parts == 1 else _composite(values[:parts])
            if None not in row:
                yield routing, [(self._insert, framed)], len(framed)
                continue
            if None in row[:keys]:
                raise StoreError(f"a row for {self._table.name} has no value for a key column: {row[:keys]!a}")
            erase = (self._erase, b"".join((erased, before, *values[:keys])))
            yield routing, [erase, (self._insert, framed)], len(framed)

    def _columns(self, rows: Sequence[Row]) -> list[list[bytes]]:
        try:
            columns = zip(self._frames, zip(*rows, strict=True), strict=True) if rows else ()
            return [[_UNSET if value is None else frame(value) for value in column] for frame, column in columns]
        except UNFIT:
            for row in rows:
                encode(self._table, self._names, row)  # says which row and column
            raise


def _composite(values: Sequence[bytes]) -> bytes:
    """The routing key of several columns, whose values have four bytes of length before them."""
    return b"".join(value[2:] + b"\0" for value in values)
