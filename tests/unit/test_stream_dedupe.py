"""Deduplication against a set that has seen everything."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.dedupe import Deduper, merge_ranges

LEAST, MOST = -(2**63), 2**63 - 1

near = st.integers(0, 8)
edge = st.sampled_from((LEAST, LEAST + 1, LEAST + 2, -1, 0, MOST - 1, MOST))
seq = near | edge
record = st.tuples(st.integers(0, 3), seq)
batches = st.lists(st.lists(record, max_size=10), max_size=6)


def admit(dedupe, records):
    producer, numbers = (np.array([each[part] for each in records], np.int64) for part in (0, 1))
    return dedupe.admit(producer, numbers).tolist()


def content(dedupe):
    return [dedupe.ranges(producer) for producer in range(dedupe.dump()[0])]


def expected(seen, records):
    """What a plain set finds fresh."""
    fresh = []
    for each in records:
        fresh.append(each not in seen)
        seen.add(each)
    return fresh


def missing(numbers):
    return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0


@given(batches)
def test_first_of_each_number_is_fresh_in_any_order_and_batching(split):
    dedupe, seen = Deduper(), set()

    found = [admit(dedupe, records) for records in split]

    assert found == [expected(seen, records) for records in split]


@given(batches)
def test_lost_counts_the_numbers_missing_between_smallest_and_greatest(split):
    dedupe = Deduper()
    for records in split:
        admit(dedupe, records)

    seen = {each for records in split for each in records}
    for producer in range(5):
        assert dedupe.lost(producer) == missing({number for code, number in seen if code == producer})
    gappy = {code for code in range(4) if dedupe.lost(code)}
    assert dedupe.gappy == gappy


@given(batches, batches)
def test_loaded_state_goes_on_as_the_dumped_would_have(before, after):
    dedupe, seen = Deduper(), set()
    for records in before:
        admit(dedupe, records)
        expected(seen, records)
    dumped = dedupe.dump()
    for records in after:
        admit(dedupe, records)

    loaded = Deduper()
    loaded.load(pickle.loads(pickle.dumps(dumped)))

    assert [admit(loaded, records) for records in after] == [expected(seen, records) for records in after]
    assert content(loaded) == content(dedupe)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 40)), max_size=60), st.data())
def test_state_does_not_depend_on_order_or_batches(records, data):
    plain, mixed = Deduper(), Deduper()
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records)))

    admit(plain, records)
    for part in (shuffled[:cut], shuffled[cut:]):
        admit(mixed, part)

    assert [ranges for ranges in content(mixed) if ranges] == [ranges for ranges in content(plain) if ranges]


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[LEAST], [LEAST]], id="least twice"),
        pytest.param([[LEAST], [5], [0]], id="least, then any"),
        pytest.param([[LEAST + 1], [LEAST + 2], [LEAST + 1]], id="next to least"),
        pytest.param([[MOST], [LEAST], [0]], id="greatest, then least"),
        pytest.param([[MOST, LEAST], [3]], id="greatest and least in one batch"),
        pytest.param([[MOST - 1], [MOST], [MOST]], id="up to the greatest"),
    ],
)
def test_numbers_at_the_ends_of_64_bits_are_numbers_like_others(batches):
    dedupe, seen = Deduper(), set()

    found = [admit(dedupe, [(0, number) for number in numbers]) for numbers in batches]

    assert found == [expected(seen, numbers) for numbers in batches]
    assert dedupe.lost(0) == missing(seen)


def test_numbers_in_order_are_one_range():
    dedupe = Deduper()

    for begin in range(0, 100, 10):
        admit(dedupe, [(0, number) for number in range(begin, begin + 10)])

    assert content(dedupe) == [[(0, 99)]]
    assert repr(dedupe) == "<Deduper 1 producers, 1 ranges>"


def test_forgotten_producer_begins_anew():
    dedupe = Deduper()
    admit(dedupe, [(0, 1), (0, 3), (1, 7)])

    dedupe.forget(0)

    assert (dedupe.lost(0), dedupe.gappy) == (0, set())
    assert admit(dedupe, [(0, 1), (1, 7)]) == [True, False]


def test_unknown_producer_has_lost_nothing():
    assert Deduper().lost(12) == 0


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ([], [], []),
        ([(0, 3)], [], [(0, 3)]),
        ([(0, 1), (3, 4)], [(2, 2)], [(0, 4)]),
        ([(5, 9)], [(0, 3)], [(0, 3), (5, 9)]),
        ([(0, 9)], [(3, 4), (9, 12)], [(0, 12)]),
        ([(LEAST, LEAST)], [(MOST, MOST)], [(LEAST, LEAST), (MOST, MOST)]),
    ],
)
def test_ranges_merge(first, second, merged):
    assert merge_ranges(first, second) == merged


@given(batches, batches)
def test_lists_of_an_older_state_are_taken_over(before, after):
    dedupe = Deduper()
    for records in before:
        admit(dedupe, records)

    loaded = Deduper()
    loaded.load(content(dedupe))

    assert content(loaded) == content(dedupe)
    assert [admit(loaded, records) for records in after] == [admit(dedupe, records) for records in after]


def test_dump_of_many_producers_is_small():
    dedupe = Deduper()
    for number in range(3):
        admit(dedupe, [(producer, 1_000_000 + number) for producer in range(1_000)])

    assert len(pickle.dumps(dedupe.dump())) < 2_000
