"""A lean column against an array that has all its bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.lean import LeanColumn
from kappawatt.stream.packing import unpack

ROOM = 8
number = st.sampled_from((0, 0, 0, 1, -1, 127, 128, -129, 40_000, 2**31, -(2**62))) | st.integers(-(2**62), 2**62 - 1)
row = st.tuples(number, number)
write = st.dictionaries(st.integers(0, ROOM - 1), row, max_size=ROOM)


def arrays(rows):
    return np.array(list(rows), np.int64), np.array(list(rows.values()), np.int64).reshape(-1, 2)


@given(st.lists(write, max_size=5))
def test_what_was_written_is_read(writes):
    column, model = LeanColumn(2, "int64"), np.zeros((ROOM, 2), np.int64)
    for rows in writes:
        at, values = arrays(rows)
        if len(at):
            column.put(at, values, ROOM)
            model[at] = values

    assert column.take(slice(0, ROOM)).tolist() == model.tolist()
    assert column.take(np.array([5, 2])).tolist() == model[[5, 2]].tolist()
    assert column.take(slice(0, ROOM)).dtype == np.int64
    assert unpack(column.pack(2, 6), 4).tolist() == model[2:6].tolist()


@given(write, write, st.sampled_from((np.add, np.minimum, np.maximum)))
def test_folding_is_what_the_function_says(first, second, merge):
    column, model = LeanColumn(2, "int64"), np.zeros((ROOM, 2), np.int64)
    for rows in (first, second):
        at, values = arrays(rows)
        if len(at):
            column.fold(merge, at, values, ROOM)
            model[at] = merge(model[at], values)

    assert column.take(slice(0, ROOM)).tolist() == model.tolist()


@given(write, st.sets(st.integers(0, ROOM - 1), min_size=1), number)
def test_rows_are_moved_whole(rows, kept, sought):
    column, model = LeanColumn(2, "int64"), np.zeros((ROOM, 2), np.int64)
    at, values = arrays(rows)
    if len(at):
        column.put(at, values, ROOM)
        model[at] = values
    chosen = np.array(sorted(kept))

    column.keep(chosen, ROOM + 1)
    column.widen(len(chosen), 2 * ROOM)

    assert column.take(slice(0, len(chosen))).tolist() == model[chosen].tolist()
    assert column.has(sought, len(chosen)).tolist() == (model[chosen][:, 0] == sought).tolist()


@pytest.mark.parametrize(
    ("value", "size"), [(0, 0), (100, 1), (-129, 2), (40_000, 4), (2**31 - 1, 4), (2**31, 8), (-(2**63), 8)]
)
def test_a_column_takes_what_its_values_need(value, size):
    column = LeanColumn(1, "int64")

    column.put(np.array([0]), np.array([value]), ROOM)

    assert column.nbytes == ROOM * size


def test_doubles_stay_what_they_are():
    column = LeanColumn(1, "float64")

    column.put(np.array([0, 1, 2]), np.array([-0.0, np.inf, 0.1]), ROOM)

    assert [str(value) for value in column.take(slice(0, 3)).tolist()] == ["-0.0", "inf", "0.1"]
    assert column.pack(1, 3).tolist() == [np.inf, 0.1]


def test_repr_shows_what_it_takes():
    column = LeanColumn(2, "int64")
    column.put(np.array([1]), np.array([[0, 300]]), ROOM)

    assert repr(column) == "<LeanColumn 0, int16>"
