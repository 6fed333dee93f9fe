"""A store held against the oracle's tables, column by column, with `==`."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from kappawatt.stores.tables import TABLES, Kind, Table

Expected = Mapping[str, Mapping[tuple[Any, ...], Mapping[str, Any]]]

SHOWN = 20
"""How many differences are given; the first ones tell."""


class Scanned(Protocol):
    """The part of a store that is needed here."""

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a table."""


def differences(store: Scanned, expected: Expected, *, limit: int = SHOWN) -> list[str]:
    """The first differences between a store and the expected tables, one line each; none: they are equal.

    Every table of the expectation is compared, every column but `version`; `accounting.position` only where the
    expectation has one. Cassandra keeps instants in milliseconds, so expected ones are floored for it.
    """
    millis = "cassandra" in type(store).__module__
    found = (line for name in expected for line in _of_table(TABLES[name], store, expected[name], millis))
    return list(islice(found, limit))


def _of_table(table: Table, store: Scanned, expected: Mapping[Any, Mapping[str, Any]], millis: bool) -> Iterator[str]:
    wanted = _keyed(table, (_floored(table, row, millis) for row in expected.values()))
    rows = list(store.scan(table.name))
    have = _keyed(table, rows)
    if len(have) != len(rows):
        yield f"{table.name}: {len(rows)} rows have only {len(have)} keys"
    for key in sorted(wanted.keys() - have.keys(), key=repr):
        yield f"{table.name} {_text(table, key)}: missing, expected {dict(wanted[key])}"
    for key in sorted(have.keys() - wanted.keys(), key=repr):
        if not _is_empty_partition(table, have[key]):
            yield f"{table.name} {_text(table, key)}: not expected, found {have[key]}"
    for key in sorted(wanted.keys() & have.keys(), key=repr):
        yield from _of_row(table, key, wanted[key], have[key])


def _of_row(table: Table, key: tuple[Any, ...], wanted: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[str]:
    for column in table.columns:
        if column == "position" and column not in wanted:
            continue
        if column not in wanted:
            yield f"{table.name} {_text(table, key)}: the expectation has no column {column}"
        elif column not in have:
            yield f"{table.name} {_text(table, key)}: the store gave no column {column}"
        elif not _same(wanted[column], have[column]):
            yield f"{table.name} {_text(table, key)} {column}: expected {wanted[column]!r}, found {have[column]!r}"


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float) and math.isnan(wanted):
        return math.isnan(found)
    return bool(wanted == found)


def _is_empty_partition(table: Table, row: Mapping[str, Any]) -> bool:
    """A source partition that nobody wrote to may have a row of zeros, or none."""
    return table.name == "accounting" and row.get("sent") == 0 and row.get("lost") == 0


def _floored(table: Table, row: Mapping[str, Any], millis: bool) -> Mapping[str, Any]:
    if not millis:
        return row
    return {
        column: value // 1_000 * 1_000 if table.columns.get(column) is Kind.INSTANT and value is not None else value
        for column, value in row.items()
    }


def _keyed(table: Table, rows: Any) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    return {tuple(row[column] for column in table.key): row for row in rows}


def _text(table: Table, key: tuple[Any, ...]) -> str:
    return " ".join(f"{column}={value}" for column, value in zip(table.key, key, strict=True))
