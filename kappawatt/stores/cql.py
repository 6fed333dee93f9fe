"""What is said to Cassandra: statements made from the tables, and values as bytes. Knows no driver."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from kappawatt.errors import StoreError
from kappawatt.stores import Row
from kappawatt.stores.tables import Kind, Table

_LONG = struct.Struct(">q").pack
_DOUBLE = struct.Struct(">d").pack
_UNIX_EPOCH = date(1970, 1, 1)

CQL_TYPES = {
    Kind.TEXT: "text",
    Kind.BIGINT: "bigint",
    Kind.VARINT: "varint",
    Kind.DOUBLE: "double",
    Kind.INSTANT: "timestamp",
    Kind.DATE: "date",
    Kind.BOOLEAN: "boolean",
}


def _varint(value: int) -> bytes:
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def _instant(value_us: int) -> bytes:
    return _LONG(value_us // 1000)


@lru_cache(maxsize=4096)
def _date(value: str) -> bytes:
    days = (date.fromisoformat(value) - _UNIX_EPOCH).days
    return (days + (1 << 31)).to_bytes(4, "big")


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


ENCODE: dict[Kind, Callable[[Any], bytes]] = {
    Kind.TEXT: str.encode,
    Kind.BIGINT: _LONG,
    Kind.VARINT: _varint,
    Kind.DOUBLE: _DOUBLE,
    Kind.INSTANT: _instant,
    Kind.DATE: _date,
    Kind.BOOLEAN: _boolean,
}
"""Values as the native protocol (v4, §6) has them."""

UNFIT = (AttributeError, OverflowError, TypeError, ValueError, struct.error)
"""What an encoder raises when a value does not fit its column."""


def encode(table: Table, names: Sequence[str], values: Row) -> list[bytes | None]:
    """Values of the columns *names* as bytes, None for null.

    Raises:
        StoreError: A value does not fit its column.
    """
    try:
        return [
            None if value is None else ENCODE[table.columns[name]](value)
            for name, value in zip(names, values, strict=True)
        ]
    except UNFIT as error:
        raise _misfit(table, names, values) from error


def deletion(table: Table, key: Row, version: int) -> list[bytes | None]:
    """Values for `delete`."""
    return [_LONG(version), *encode(table, table.key, key)]


def insert(table: Table) -> str:
    """Upsert of a row; values: the columns, the version, the version as write timestamp."""
    names = ", ".join((*table.columns, "version"))
    marks = ", ".join("?" * (len(table.columns) + 1))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks}) USING TIMESTAMP ?"  # noqa: S608 our own names


def delete(table: Table) -> str:
    """Deletion of a row; values: the version as write timestamp, the key."""
    where = " AND ".join(f"{name} = ?" for name in table.key)
    return f"DELETE FROM {table.name} USING TIMESTAMP ? WHERE {where}"  # noqa: S608 our own names


def query(
    table: Table,
    partition: Mapping[str, Any],
    since: int | str | None,
    until: int | str | None,
    newest_first: bool,
    limit: int | None,
) -> tuple[str, list[bytes | None]]:
    """The statement for rows of a partition, and its encoded values; see `Store.read`."""
    names = list(table.partition)
    values = [partition[name] for name in names]
    terms = [f"{name} = ?" for name in names]
    for bound, operator in ((since, ">="), (until, "<=")):
        if bound is not None:
            names.append(table.clustering[0])
            values.append(bound)
            terms.append(f"{names[-1]} {operator} ?")
    text = f"{select_all(table)} WHERE {' AND '.join(terms)}"
    if newest_first and table.clustering:
        text += f" ORDER BY {', '.join(f'{name} DESC' for name in table.clustering)}"
    encoded = encode(table, names, tuple(values))
    if limit is None:
        return text, encoded
    return text + " LIMIT ?", [*encoded, limit.to_bytes(4, "big")]


def select_all(table: Table) -> str:
    """Every row of a table."""
    return f"SELECT {', '.join((*table.columns, 'version'))} FROM {table.name}"  # noqa: S608 our own names


def dicts(table: Table, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Rows as the driver gives them (naive UTC datetimes, its own dates), by column and with our types."""
    names = (*table.columns, "version")
    changes = [(name, _DECODE[kind]) for name, kind in table.columns.items() if kind in _DECODE]
    for row in rows:
        found = dict(zip(names, row, strict=True))
        for name, decode in changes:
            if found[name] is not None:
                found[name] = decode(found[name])
        yield found


_DECODE: dict[Kind, Callable[[Any], Any]] = {
    # The driver goes by way of floating-point seconds, which from 2242 on are a microsecond off: hence the rounding.
    Kind.INSTANT: lambda value: round((value - datetime(1970, 1, 1)) / timedelta(milliseconds=1)) * 1000,
    Kind.DATE: str,
}


def statements(text: str) -> Iterator[str]:
    r"""The statements of a CQL file, comments left out.

    >>> list(statements("-- why; not\nCREATE TABLE a (b text) WITH comment = 'x; -- y'; /* ; */ DROP TABLE c"))
    ["CREATE TABLE a (b text) WITH comment = 'x; -- y'", 'DROP TABLE c']
    """
    parts: list[str] = []
    place = 0
    while place < len(text):
        end = _piece_end(text, place)
        piece = text[place:end]
        place = end
        if piece == ";":
            yield from _statement(parts)
            parts = []
        elif not piece.startswith(("--", "//", "/*")):
            parts.append(piece)
        else:
            parts.append(" ")
    yield from _statement(parts)


_CLOSERS = {"--": "\n", "//": "\n", "/*": "*/", "$$": "$$", "'": "'", '"': '"'}


def _piece_end(text: str, place: int) -> int:
    """End of the comment, string, quoted name or single sign at *place*; a doubled quote reads as two strings."""
    for opener, closer in _CLOSERS.items():
        if text.startswith(opener, place):
            found = text.find(closer, place + len(opener))
            if found >= 0:
                return found + len(closer)
            if closer == "\n":
                return len(text)
            raise StoreError(f"a CQL file has {opener} without {closer} in line {text.count(chr(10), 0, place) + 1}")
    return place + 1


def _statement(parts: list[str]) -> Iterator[str]:
    text = "".join(parts).strip()
    if text:
        yield text


def _misfit(table: Table, names: Sequence[str], values: Row) -> StoreError:
    if len(names) != len(values):
        return StoreError(f"a row for {table.name} has {len(values)} values; it takes {len(names)}: {', '.join(names)}")
    for name, value in zip(names, values, strict=True):
        kind = table.columns[name]
        try:
            ENCODE[kind](value) if value is not None else None
        except UNFIT:
            return StoreError(
                f"{table.name}.{name} is {kind}, and {value!r} does not fit it; see kappawatt.stores.tables"
            )
    return StoreError(f"a row for {table.name} cannot be written as bytes")
