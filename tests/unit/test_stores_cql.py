"""What is said to Cassandra, without one."""

from typing import Any

import pytest
from cassandra.util import Date
from hypothesis import given
from hypothesis import strategies as st

from cassandra import cqltypes
from kappawatt.errors import StoreError
from kappawatt.stores import cql
from kappawatt.stores.address import Address
from kappawatt.stores.cql_rows import Request, Writer
from kappawatt.stores.tables import TABLES, Kind, Table

ONE = Table("one", ("id",), (), {"id": Kind.TEXT, "value": Kind.BIGINT})

LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
VALUES = {
    Kind.TEXT: (st.text(), "UTF8Type"),
    Kind.BIGINT: (LONGS, "LongType"),
    Kind.VARINT: (st.integers(), "IntegerType"),
    Kind.DOUBLE: (st.floats(allow_nan=False), "DoubleType"),
    Kind.BOOLEAN: (st.booleans(), "BooleanType"),
}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_value_is_read_by_the_driver_as_it_was(kind: Kind, data: st.DataObject):
    strategy, driver_type = VALUES[kind]
    value = data.draw(strategy)
    table = Table("one", ("id",), (), {"id": Kind.TEXT, "value": kind})

    (encoded,) = cql.encode(table, ["value"], (value,))

    assert getattr(cqltypes, driver_type).deserialize(encoded, 4) == value


@given(st.dates())
def test_date_is_read_by_the_driver_as_it_was(value: Any):
    table = Table("one", ("id",), (), {"id": Kind.TEXT, "value": Kind.DATE})

    (encoded,) = cql.encode(table, ["value"], (value.isoformat(),))

    assert cqltypes.SimpleDateType.deserialize(encoded, 4) == Date(value)


@given(st.integers(-(10**16), 10**17))
def test_instant_comes_back_floored_to_the_millisecond(value: int):
    table = Table("one", ("id",), (), {"id": Kind.TEXT, "at": Kind.INSTANT})
    (encoded,) = cql.encode(table, ["at"], (value,))

    (row,) = cql.dicts(table, [("x", cqltypes.DateType.deserialize(encoded, 4), 1)])

    assert row["at"] == value // 1000 * 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; \n", []),
        ("-- only; a comment", []),
        ("a; b", ["a", "b"]),
        ("a -- x; y\n; b", ["a", "b"]),
        ("a // x; y\n; b", ["a", "b"]),
        ("a /* ; */ c", ["a   c"]),
        ("a 'it''s; -- fine'", ["a 'it''s; -- fine'"]),
        ('a "; b"', ['a "; b"']),
        ("a $$ ; $$; b", ["a $$ ; $$", "b"]),
    ],
)
def test_file_is_split_at_semicolons_outside_of_strings_and_comments(text: str, expected: list[str]):
    assert list(cql.statements(text)) == expected


def test_open_string_is_an_error_with_its_line():
    with pytest.raises(StoreError, match="' without ' in line 2"):
        list(cql.statements("a;\nb 'c"))


def requests(rows: list[tuple[Any, ...]], table: Table = ONE, **home: Any) -> list[Request]:
    return list(Writer(table).requests(rows, 9, **home))


def values_of(blob: bytes) -> list[bytes | None]:
    """The values that a server reads; None: it leaves the column alone."""
    values: list[bytes | None] = []
    place = 2
    while place < len(blob):
        size = int.from_bytes(blob[place : place + 4], "big", signed=True)
        values.append(None if size == -2 else blob[place + 4 : place + 4 + size])
        place += 4 + max(0, size)
    assert len(values) == int.from_bytes(blob[:2], "big")
    return values


def said(rows: list[tuple[Any, ...]], table: Table = ONE) -> list[list[tuple[str, list[bytes | None]]]]:
    return [[(text, values_of(blob)) for text, blob in each.statements] for each in requests(rows, table)]


def test_full_row_is_one_insert_with_its_version_as_timestamp():
    nine = (9).to_bytes(8, "big")

    assert said([("a", 1)]) == [[(cql.insert(ONE), [b"a", (1).to_bytes(8, "big"), nine, nine])]]


def test_row_with_nulls_first_deletes_what_is_older():
    eight, nine = (8).to_bytes(8, "big"), (9).to_bytes(8, "big")

    assert said([("a", None)]) == [[(cql.delete(ONE), [eight, b"a"]), (cql.insert(ONE), [b"a", None, nine, nine])]]


@given(st.lists(st.tuples(*(VALUES[kind][0] | st.none() for kind in VALUES)), max_size=9))
def test_rows_are_framed_as_they_are_encoded(rows: list[tuple[Any, ...]]):
    columns = {"id": Kind.TEXT} | {f"value {kind}": kind for kind in VALUES}
    table = Table("one", ("id",), (), columns)
    rows = [("a", *row) for row in rows]

    inserts = [values for request in said(rows, table) for text, values in request if text == cql.insert(table)]

    assert [values[:-2] for values in inserts] == [cql.encode(table, list(columns), row) for row in rows]


def test_empty_text_is_a_value():
    assert said([("", 1)])[0][0][1][0] == b""


def test_partitions_at_one_home_share_a_request():
    rows = [("a", 1), ("b", 2), ("c", 3)]
    home = {b"a": 1, b"b": 2, b"c": 1}

    made = requests(rows, home=home.__getitem__)

    assert [each.routing_key for each in made] == [b"a", b"b"]
    assert [[values_of(blob)[0] for _, blob in each.statements] for each in made] == [[b"a", b"c"], [b"b"]]


def test_routing_key_is_what_the_server_hashes():
    table = Table("one", ("id", "at"), (), {"id": Kind.TEXT, "at": Kind.BIGINT, "value": Kind.BIGINT})

    (request,) = requests([("ab", 7, 1)], table)

    assert request.routing_key == b"\0\2ab\0" + b"\0\x08" + (7).to_bytes(8, "big") + b"\0"


def test_request_is_bounded_in_partitions_rows_and_bytes():
    table = Table("one", ("id",), ("at",), {"id": Kind.TEXT, "at": Kind.BIGINT, "text": Kind.TEXT})
    many = requests([(f"run-{run}", 1, "") for run in range(25)], table)
    small = requests([("a", at, "") for at in range(1000)], table)
    large = requests([("a", at, "x" * 3000) for at in range(10)], table)

    assert [len(request.statements) for request in many] == [10, 10, 5]
    assert max(len(request.statements) for request in small) == 32
    assert [len(request.statements) for request in large] == [1] * 10


@pytest.mark.parametrize("row", [("a", 1 << 63), ("a", "one"), (3, 1)])
def test_value_that_does_not_fit_is_named(row: tuple[Any, ...]):
    with pytest.raises(StoreError, match="does not fit"):
        requests([("a", 1), row])


def test_row_of_another_length_is_an_error():
    with pytest.raises(StoreError, match="has 1 values; it takes 2: id, value"):
        requests([("a",)])


@pytest.mark.parametrize(
    "url",
    [
        "cassandra:kw",
        "cassandra://",
        "cassandra://host",
        "cassandra://host/",
        "cassandra://host/Kw",
        "cassandra://host/kw; DROP KEYSPACE kw",
        "cassandra://host:port/kw",
        "cassandra://host,,other/kw",
    ],
)
def test_address_of_another_form_is_refused(url: str):
    with pytest.raises(StoreError, match="is not cassandra://HOST:PORT"):
        Address.parse(url, {})


def test_address_may_be_of_ipv6_and_have_no_port():
    assert Address.parse("cassandra://[::1]:9142,[fe80::1]/kw", {}).hosts == (("::1", 9142), ("fe80::1", 9042))


def test_credentials_come_from_the_environment_and_are_never_shown():
    environ = {"KAPPAWATT_CASSANDRA_USERNAME": "flow", "KAPPAWATT_CASSANDRA_PASSWORD": "s3cret"}

    address = Address.parse("cassandra://db/kw", environ)

    assert (address.username, address.password) == ("flow", "s3cret")
    assert "s3cret" not in f"{address} {address!r}"


def test_credentials_in_the_url_are_refused_and_not_repeated():
    with pytest.raises(StoreError, match="KAPPAWATT_CASSANDRA_PASSWORD") as caught:
        Address.parse("cassandra://flow:s3cret@db/kw", {})

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_begin_with_their_key(table: Table):
    assert tuple(table.columns)[: len(table.key)] == table.key
