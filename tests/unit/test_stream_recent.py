"""Deduplication by (key, instant) against a set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.recent import KEY_BITS, RecentSet

record = st.tuples(st.integers(0, 3), st.integers(-25, 40) | st.sampled_from((-(2**63), 2**63 - 1)))
batches = st.lists(st.lists(record, max_size=10), max_size=5)


def admit(recent, batch):
    key, instant = np.array(batch, np.int64).reshape(-1, 2).T
    return recent.admit(key, instant).tolist()


def fresh_of(seen, batch):
    fresh = []
    for each in batch:
        fresh.append(each not in seen)
        seen.add(each)
    return fresh


@given(batches)
def test_admits_what_a_set_admits(told):
    recent, seen = RecentSet(10), set()

    for batch in told:
        assert admit(recent, batch) == fresh_of(seen, batch)
    assert len(recent) == len(seen)


@given(batches, batches)
def test_loaded_set_goes_on_as_the_dumped(before, after):
    recent, loaded = RecentSet(10), RecentSet(10)
    for batch in before:
        admit(recent, batch)

    loaded.load(recent.dump())

    assert [admit(loaded, batch) for batch in after] == [admit(recent, batch) for batch in after]


@given(batches, st.integers(-40, 60))
def test_forgets_whole_slots_only(told, instant):
    recent = RecentSet(10)
    seen = {each for batch in told for each in batch}
    for batch in told:
        admit(recent, batch)

    recent.forget_before(instant)

    kept = [each for each in sorted(seen) if (each[1] // 10 + 1) * 10 > instant]
    assert len(recent) == len(kept)
    assert admit(recent, kept) == [False] * len(kept)


@pytest.mark.parametrize("key", [-1, 1 << KEY_BITS])
def test_keys_that_are_no_codes_are_refused(key):
    with pytest.raises(ValueError, match="takes codes below"):
        admit(RecentSet(10), [(key, 0)])


@pytest.mark.parametrize("slot", [0, (1 << 43) + 1])
def test_impossible_slots_are_refused(slot):
    with pytest.raises(ValueError, match="it takes"):
        RecentSet(slot)


def test_longest_slot_holds_any_key():
    recent = RecentSet(1 << 43)
    batch = [((1 << KEY_BITS) - 1, (1 << 43) - 1), (0, 0), ((1 << KEY_BITS) - 1, (1 << 43) - 1)]

    assert admit(recent, batch) == [True, True, False]


def test_repr_tells_how_many():
    recent = RecentSet(10)
    admit(recent, [(0, 1), (0, 2), (0, 11)])

    assert repr(recent) == "<RecentSet 3 records in 2 slots>"
