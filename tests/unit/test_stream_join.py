"""The as-of join against a search over all records."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.join import KEY_BITS, NO_RECORD, AsOfJoin


class Offer(NamedTuple):
    group: str
    first: int
    end: int
    worth: int


NAMES = ("a", "b", "c-a")


def groups_of(name):
    return (name, name[-1], "world")


def rank(offer, level):
    return (-level, offer.worth, offer)


offer = st.builds(
    lambda group, first, long, worth: Offer(group, first, first + long, worth),
    st.sampled_from(("a", "b", "c-a", "world")),
    st.integers(-5, 10),
    st.integers(1, 8) | st.just(5_000),
    st.integers(0, 3),
)
offers = st.lists(offer, max_size=8)
asked = st.lists(st.tuples(st.integers(0, 2), st.integers(-6, 15)), max_size=8)


def join():
    return AsOfJoin(rank, groups_of)


def add(joined, record):
    return joined.add(record, record.group, record.first, record.end)


def lookup(joined, places):
    key, slot = np.array(places, np.int64).reshape(-1, 2).T
    found = joined.lookup(NAMES, key, slot).tolist()
    return [None if index == NO_RECORD else joined[index] for index in found]


def best(records, place):
    groups = groups_of(NAMES[place[0]])
    holding = [each for each in records if each.group in groups and each.first <= place[1] < each.end]
    return max(holding, key=lambda each: rank(each, groups.index(each.group)), default=None)


@given(offers, asked, st.data())
def test_lookup_gives_the_greatest_rank_whatever_the_order(records, places, data):
    joined = join()
    for record in data.draw(st.permutations(records)):
        lookup(joined, data.draw(asked))
        add(joined, record)

    assert lookup(joined, places) == [best(records, place) for place in places]


@given(st.lists(st.tuples(offers, asked), max_size=5))
def test_changes_lead_from_what_was_said_to_what_counts_now(told):
    joined, said, records = join(), {}, []
    for arriving, places in told:
        for record in arriving:
            for change in add(joined, record):
                place = (change.key, change.slot)
                assert said[place] == change.before != change.after
                said[place] = change.after
            records.append(record)
        key, slot = np.array(places, np.int64).reshape(-1, 2).T
        said |= dict(zip(places, joined.lookup(NAMES, key, slot).tolist(), strict=True))

    now = {place: None if index == NO_RECORD else joined[index] for place, index in said.items()}
    assert now == {place: best(records, place) for place in said}


@given(offers, asked, offers, asked)
def test_loaded_join_goes_on_as_the_dumped(before, used, after, places):
    joined, loaded = join(), join()
    for record in before:
        add(joined, record)
    lookup(joined, used)

    loaded.load(joined.dump())

    assert [add(loaded, record) for record in after] == [add(joined, record) for record in after]
    assert lookup(loaded, places) == lookup(joined, places)


def test_better_record_changes_the_slots_in_use_and_no_others():
    joined = join()
    add(joined, Offer("world", 0, 10, 1))
    lookup(joined, [(0, 2), (0, 3), (1, 3)])

    changes = add(joined, Offer("a", 3, 10, 0))

    assert changes == [(0, 3, 0, 1)]


def test_repeat_changes_nothing():
    joined = join()
    lookup(joined, [(0, 2)])
    add(joined, Offer("a", 0, 5, 1))

    assert add(joined, Offer("a", 0, 5, 1)) == []
    assert repr(joined) == "<AsOfJoin 1 records, 1 slots in use>"


def test_forgotten_slots_are_told_of_no_change():
    joined = join()
    lookup(joined, [(0, 2), (0, 3)])

    joined.forget_before(3)

    assert [change.slot for change in add(joined, Offer("a", 0, 9, 1))] == [3]


@pytest.mark.parametrize("key", [-1, 1 << KEY_BITS])
def test_keys_that_are_no_codes_are_refused(key):
    with pytest.raises(ValueError, match="takes codes below"):
        lookup(join(), [(key, 0)])
