"""The protocol of an epoch: what leaves a part was committed before, whatever crashes in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.outbox import Outbox, Outlet
from kappawatt.stream.part import DRAIN_EPOCHS, EpochPart
from kappawatt.stream.ticks import TICK, Ticks
from kappawatt.testing.runtime import ManualRuntime

KEYS = ("k0", "k1")
BEHIND = ("z0",)


class Counting:
    """Reads the numbers of a list, one a time, and shows after the commit how many it has read."""

    def __init__(self, numbers, position, marks=()):
        self.numbers, self.position, self.shown = numbers, position, position
        self.marks, self.closed = list(marks), False

    def read(self):
        if self.position == len(self.numbers):
            return []
        number = self.numbers[self.position]
        self.position += 1
        return [(KEYS[number % 2], number)]

    def fix(self, outbox):
        if self.position != self.shown:
            outbox.put({"read": [(self.position,)]}, {})
            self.shown = self.position
        return self.position

    def wait_s(self):
        return 0.5

    def ended(self):
        return self.position == len(self.numbers)

    def may_go(self, epochs):
        return epochs >= DRAIN_EPOCHS

    def close(self):
        self.closed = True


def part_of(numbers, state, runtime):
    position, waiting = (0, ((), 0)) if state is None else state
    return EpochPart("p", Counting(numbers, position), Ticks(KEYS, BEHIND), Outbox(*waiting), runtime)


def run(numbers, crashes):
    """Run to the end in epochs of two polls; *crashes* says in which epochs, and whether before or after the commit.

    Returns:
        What left, in order: (how much was committed when it left, outlet), and the items.
    """
    runtime, state, committed = ManualRuntime(), None, 0
    part, left, items = part_of(numbers, state, runtime), [], []
    for epoch in range(200):
        try:
            made = [item for _ in range(2) for item in part.next_batch()]
        except StopIteration:
            return left, items
        left += [(committed, value) for _, value in made if isinstance(value, Outlet)]
        fixed = part.snapshot()
        crash = crashes.get(epoch)
        if crash != "before the commit":
            state, committed = fixed, fixed[0]
            items += [item for item in made if isinstance(item[1], int)]
        if crash is not None:
            part = part_of(numbers, state, runtime)
    raise AssertionError("the part did not end")


numbers = st.lists(st.integers(0, 9), max_size=9)
crashes = st.dictionaries(st.integers(0, 12), st.sampled_from(("before the commit", "after the commit")), max_size=6)


@given(numbers, crashes)
def test_what_leaves_was_committed_before(log, when):
    left, _ = run(log, when)

    assert [row for committed, outlet in left for row in outlet.rows["read"] if row[0] > committed] == []


@given(numbers, crashes)
def test_crashes_only_repeat_what_was_released(log, when):
    left, items = run(log, when)

    by_flush = {}
    for _, outlet in left:
        assert by_flush.setdefault(outlet.flush, outlet) == outlet
    assert [value for _, value in items] == log
    assert max((row[0] for outlet in by_flush.values() for row in outlet.rows["read"]), default=0) == len(log)
    assert sorted(by_flush) == list(range(1, len(by_flush) + 1))


def test_ticks_wake_who_was_addressed_and_the_steps_behind_one_epoch_later():
    ticks = Ticks(KEYS, BEHIND)
    all_at_first, all_once_more = ticks.begin(), ticks.begin()
    behind_only = ticks.begin()
    ticks.sent([("k1", "item"), ("elsewhere", "item")])

    assert sorted(all_at_first) == [("k0", TICK), ("k1", TICK), ("z0", TICK)]
    assert sorted(all_once_more) == sorted(all_at_first)
    assert behind_only == [("z0", TICK)]
    assert ticks.begin() == [("k1", TICK)]
    assert ticks.begin() == [("z0", TICK)]
    assert ticks.begin() == []


def test_ticks_and_committed_changes_come_once_an_epoch_and_first():
    part = part_of([4, 5, 6], (0, ((tuple(Outlet(1, {"read": [(0,)]}, {}, [])),), 1)), ManualRuntime())

    first, second = part.next_batch(), part.next_batch()

    assert [value for _, value in first] == [TICK, TICK, TICK, Outlet(1, {"read": [(0,)]}, {}, []), 4]
    assert second == [("k1", 5)]


def test_a_drain_reads_nothing_more_and_ends_when_all_is_released():
    runtime = ManualRuntime()
    part, released = part_of([4, 5, 6], None, runtime), []
    part.next_batch()
    part.snapshot()
    runtime.stop = True

    for _ in range(DRAIN_EPOCHS):
        released += [value for _, value in part.next_batch() if value != TICK]
        part.snapshot()
    with pytest.raises(StopIteration):
        part.next_batch()
    part.close()

    assert released == [Outlet(1, {"read": [(1,)]}, {}, [])]
    assert part.reading.position == 1
    assert part.reading.closed


def test_epochs_without_a_poll_count_for_no_end():
    part = part_of([4], None, ManualRuntime())
    part.next_batch()
    for _ in range(2 * DRAIN_EPOCHS):
        part.snapshot()

    assert [value for _, value in part.next_batch() if value != TICK] == [Outlet(1, {"read": [(1,)]}, {}, [])]


def test_epochs_without_a_poll_count_for_no_drain():
    runtime = ManualRuntime()
    part = part_of([4, 5], None, runtime)
    part.next_batch()
    runtime.stop = True
    for _ in range(2 * DRAIN_EPOCHS):
        part.snapshot()

    assert [value for _, value in part.next_batch() if value != TICK] == [Outlet(1, {"read": [(1,)]}, {}, [])]


def test_an_empty_change_takes_no_flush_number():
    outbox = Outbox()
    outbox.put({}, {}, [])
    outbox.put({}, {}, ["a letter"])

    assert outbox.release() == [Outlet(1, {}, {}, ["a letter"])]
    assert outbox.release() == []
    assert outbox.dump() == ((), 1)


def test_a_loaded_outbox_releases_the_same_and_numbers_on():
    outbox = Outbox()
    outbox.put({"t": [(1,)]}, {"t": [(2,)]})

    loaded = Outbox(*outbox.dump())
    loaded.put({"t": [(3,)]}, {})

    assert loaded.release() == [*outbox.release(), Outlet(2, {"t": [(3,)]}, {}, [])]
