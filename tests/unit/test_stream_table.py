"""The keyed table against a dict that does the same one row at a time."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.stream.table import Column, KeyedTable, distinct, reduce_by_key

COLUMNS = {
    "total": Column("sum"),
    "pair": Column("sum", 2),
    "least": Column("min"),
    "most": Column("max"),
    "warmest": Column("max", dtype="float64"),
}
MERGE = {
    "total": lambda a, b: a + b,
    "pair": lambda a, b: [a[0] + b[0], a[1] + b[1]],
    "least": min,
    "most": max,
    "warmest": max,
}

key = st.integers(0, 12) | st.integers(-(2**62), 2**62)
number = st.integers(-(2**50), 2**50)
row = st.tuples(key, st.fixed_dictionaries(dict.fromkeys(("total", "least", "most"), number)), number, number)
batch = st.lists(row, max_size=12)


def arrays(rows):
    """Rows as the key and columns of a batch; `warmest` is a half of `most`, so that it is no integer."""
    values = {name: np.array([fields[name] for _, fields, *_ in rows], np.int64) for name in ("total", "least", "most")}
    values["pair"] = np.array([[one, other] for *_, one, other in rows], np.int64).reshape(-1, 2)
    values["warmest"] = values["most"] / 2
    return np.array([row[0] for row in rows], np.int64), values


def merge_into(model, rows):
    for row_key, fields, one, other in rows:
        fresh = {**fields, "pair": [one, other], "warmest": fields["most"] / 2}
        kept = model.get(row_key)
        model[row_key] = fresh if kept is None else {name: MERGE[name](kept[name], fresh[name]) for name in COLUMNS}


def content(table):
    columns = {name: table[name].tolist() for name in COLUMNS}
    return {row_key: {name: columns[name][at] for name in COLUMNS} for at, row_key in enumerate(table.key.tolist())}


def table_of(*batches):
    table = KeyedTable(COLUMNS)
    for rows in batches:
        table.merge(*arrays(rows))
    return table


@given(st.lists(batch, max_size=6))
def test_table_holds_what_a_dict_holds(batches):
    table, model = KeyedTable(COLUMNS), {}
    for rows in batches:
        touched = table.merge(*arrays(rows))
        merge_into(model, rows)
        assert touched.tolist() == sorted({row[0] for row in rows})

    assert content(table) == model
    assert table.key.tolist() == sorted(model)
    assert len(table) == len(model)


@given(batch)
def test_reduce_by_key_merges_the_rows_of_a_key(rows):
    model = {}
    merge_into(model, rows)

    keys, values = reduce_by_key(*arrays(rows), COLUMNS)

    assert keys.tolist() == sorted(model)
    assert {name: values[name].tolist() for name in COLUMNS} == {
        name: [model[row_key][name] for row_key in sorted(model)] for name in COLUMNS
    }


@given(batch, st.lists(st.tuples(key, key), max_size=5))
def test_between_gives_the_rows_of_each_half_open_range(rows, ranges):
    table = table_of(rows)
    low, high = (np.array([pair[end] for pair in ranges], np.int64) for end in (0, 1))
    low, high = np.minimum(low, high), np.maximum(low, high)

    at, owner = table.between(low, high)

    found = list(zip(owner.tolist(), table.key[at].tolist(), strict=True))
    bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    assert found == [
        (which, each) for which, (begin, end) in enumerate(bounds) for each in table.key.tolist() if begin <= each < end
    ]


@given(batch, batch, st.sets(st.integers(0, 23)))
def test_dropped_rows_are_gone_and_can_come_again(rows, more, gone):
    table, model = table_of(rows), {}
    merge_into(model, rows)
    mask = np.array([at in gone for at in range(len(table))], bool)
    for each in table.key[mask].tolist():
        del model[each]

    table.drop(mask)
    table.merge(*arrays(more))

    merge_into(model, more)
    assert content(table) == model


@given(batch, batch, key, key)
def test_dump_is_an_independent_copy_of_a_key_range(rows, more, one, other):
    table = table_of(rows)
    before = content(table)
    low, high = min(one, other), max(one, other)

    dumped = table.dump(low, high)
    table.merge(*arrays(more))

    loaded = KeyedTable(COLUMNS)
    loaded.load(dumped)
    assert content(loaded) == {each: before[each] for each in before if low <= each < high}


@given(batch)
def test_load_gives_back_all_that_dump_gave(rows):
    table, loaded = table_of(rows), KeyedTable(COLUMNS)

    loaded.load(table.dump())

    assert content(loaded) == content(table)


@given(st.lists(key, max_size=12, unique=True), st.lists(key, max_size=8))
def test_find_gives_the_row_or_where_it_would_be(keys, wanted):
    table = KeyedTable({"total": Column("sum")})
    table.merge(np.array(keys, np.int64), {"total": np.zeros(len(keys), np.int64)})

    at, known = table.find(np.array(wanted, np.int64))

    assert known.tolist() == [each in keys for each in wanted]
    assert at.tolist() == [sum(other < each for other in keys) for each in wanted]


@settings(max_examples=20)
@given(st.permutations(range(200)), st.integers(1, 199))
def test_table_grows_beyond_its_first_room(keys, cut):
    table = KeyedTable({"total": Column("sum")})

    for part in (keys[:cut], keys[cut:]):
        table.merge(np.array(part, np.int64), {"total": np.array(part, np.int64)})

    assert table.key.tolist() == table["total"].tolist() == list(range(200))


def test_repr_shows_the_state():
    assert repr(table_of([(7, {"total": 1, "least": 1, "most": 1}, 0, 0)])) == (
        "<KeyedTable 1 rows of total, pair, least, most, warmest>"
    )


@pytest.mark.parametrize("column", [Column("sum"), Column("min"), Column("max"), Column("max", dtype="float64")])
def test_empty_batch_changes_nothing(column):
    table = KeyedTable({"value": column})

    touched = table.merge(np.empty(0, np.int64), {"value": np.empty(0, column.dtype)})

    assert (len(touched), len(table)) == (0, 0)


anything = st.integers(-(2**63), 2**63 - 1)
few = st.sampled_from((0, 1, -1, 255, 256, -128, -129, 2**31, 2**32, 2**63 - 1, -(2**63)))


@given(st.dictionaries(st.integers(-(2**62), 2**62), st.tuples(*[anything | few] * 3, st.floats(allow_nan=False))))
def test_dump_is_exact_whatever_the_numbers(rows):
    columns = {"a": Column("sum", 2), "b": Column("max"), "c": Column("max", dtype="float64")}
    key = np.array(list(rows), np.int64)
    first, second, third, fourth = (list(column) for column in zip(*rows.values(), strict=True)) if rows else ([],) * 4
    pair = np.array([first, second], np.int64).T
    table, again = KeyedTable(columns), KeyedTable(columns)
    table.merge(key, {"a": pair, "b": np.array(third, np.int64), "c": np.array(fourth, np.float64)})

    again.load(pickle.loads(pickle.dumps(table.dump())))

    assert again.key.tolist() == table.key.tolist()
    assert all(again[name].tolist() == table[name].tolist() for name in columns)


def test_dump_of_small_numbers_is_small():
    table = KeyedTable({"a": Column("sum", 8), "b": Column("sum")})
    count = 10_000
    small = np.zeros((count, 8), np.int64)
    small[:, 3] = np.arange(count) % 200
    table.merge(np.arange(count) << 32 | 5, {"a": small, "b": np.full(count, 1 << 60)})

    assert len(pickle.dumps(table.dump())) < count * 2.1


def test_column_left_out_of_a_merge_keeps_what_it_has_and_is_0_in_new_rows():
    table = KeyedTable({"sum": Column("sum"), "most": Column("max"), "side": Column("sum", 2)})
    side = np.array([[1, 2], [3, 4]])
    table.merge(np.array([1, 3]), {"sum": np.array([5, 6]), "most": np.array([7, 8]), "side": side})

    table.merge(np.array([3, 2]), {"sum": np.array([10, 20])})

    assert table.key.tolist() == [1, 2, 3]
    assert table["sum"].tolist() == [5, 20, 16]
    assert table["most"].tolist() == [7, 0, 8]
    assert table["side"].tolist() == [[1, 2], [0, 0], [3, 4]]


@pytest.mark.parametrize("key", [[], [4], [1, 2, 9], [1, 1, 2], [9, 1, 9, -3]])
def test_distinct_gives_each_key_once_in_order(key):
    assert distinct(np.array(key, np.int64)).tolist() == sorted(set(key))
