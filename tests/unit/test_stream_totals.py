"""Totals beyond 64 bits against Python's own integers."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.totals import Totals
from kappawatt.stream.wide import MAX_ROOT, carry, halves, squares, whole

any_int = st.integers(-(2**63), 2**63 - 1)
row = st.tuples(st.integers(-3, 3) | any_int, any_int, any_int)
batches = st.lists(st.lists(row, max_size=8), max_size=6)


def add(totals, rows):
    key, one, other = np.array(rows, np.int64).reshape(-1, 3).T
    totals.add(key, {"one": one, "other": other})


def added(batches):
    model = defaultdict(lambda: [0, 0])
    for rows in batches:
        for key, one, other in rows:
            model[key][0] += one
            model[key][1] += other
    return {key: tuple(sums) for key, sums in model.items()}


def content(sums):
    return dict(zip(sums.key, zip(sums.columns["one"], sums.columns["other"], strict=True), strict=True))


@given(batches)
def test_totals_are_the_sums_of_python(told):
    totals = Totals(["one", "other"])
    for rows in told:
        add(totals, rows)

    assert content(totals.all()) == added(told)


@given(batches, st.data())
def test_totals_depend_on_neither_order_nor_batches(told, data):
    rows = data.draw(st.permutations([row for batch in told for row in batch]))
    totals = Totals(["one", "other"])

    add(totals, rows)

    assert content(totals.all()) == added(told)


@given(batches)
def test_take_gives_what_changed_and_whole(told):
    totals = Totals(["one", "other"])
    for number, rows in enumerate(told, 1):
        add(totals, rows)

        taken = content(totals.take())

        now = added(told[:number])
        assert taken == {key: now[key] for key, *_ in rows}
    assert content(totals.take()) == {}


@given(batches, batches, st.booleans())
def test_loaded_totals_go_on_as_the_dumped(before, after, taken):
    totals, loaded = Totals(["one", "other"]), Totals(["one", "other"])
    for rows in before:
        add(totals, rows)
    if taken:
        totals.take()

    loaded.load(totals.dump())

    for rows in after:
        add(totals, rows)
        add(loaded, rows)
    assert loaded.take() == totals.take()
    assert loaded.all() == totals.all()


def test_a_dump_does_not_change_with_what_comes_later():
    totals, loaded = Totals(["one", "other"]), Totals(["one", "other"])
    add(totals, [(1, 2, 3)])

    state = totals.dump()
    add(totals, [(1, 2, 3)])
    loaded.load(state)

    assert content(loaded.all()) == {1: (2, 3)}


@given(st.lists(any_int, min_size=1))
def test_halves_add_up(values):
    assert whole(halves(np.array(values)).sum(axis=0, keepdims=True)) == [sum(values)]


@given(st.lists(st.integers(-MAX_ROOT, MAX_ROOT), min_size=1))
def test_squares_add_up(values):
    assert whole(squares(np.array(values)).sum(axis=0, keepdims=True)) == [sum(value**2 for value in values)]


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), any_int), min_size=1))
def test_carry_changes_no_number(rows):
    wide = np.array(rows, np.int64)

    carried = carry(wide)

    assert whole(carried) == whole(wide)
    assert bool(((carried[:, 1] >= 0) & (carried[:, 1] < 1 << 31)).all())


@pytest.mark.parametrize("value", [MAX_ROOT + 1, -MAX_ROOT - 1, -(2**63)])
def test_squares_beyond_64_bits_are_refused(value):
    with pytest.raises(ValueError, match="more than 64 bits"):
        squares(np.array([0, value]))


def test_repr_tells_how_many():
    totals = Totals(["one", "other"])
    add(totals, [(1, 2, 3), (1, 2, 3), (2, 0, 0)])

    assert repr(totals) == "<Totals 2 keys of one, other>"
