"""Watermarks: from event time alone, held back by who is unknown or slow, never by who is idle, never going back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.watermark import IDLE, MinWatermark, PartitionClock, combine

reports = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-5, 20)), max_size=20)


@pytest.mark.parametrize(
    ("told", "value"),
    [
        pytest.param([], None, id="nobody said anything"),
        pytest.param([("a", 9)], None, id="one is unknown"),
        pytest.param([("a", 9), ("b", 4)], 4, id="the least"),
        pytest.param([("a", 9), ("b", IDLE)], 9, id="idle does not hold back"),
        pytest.param([("a", IDLE), ("b", IDLE)], None, id="all idle from the start"),
        pytest.param([("a", 9), ("b", 4), ("b", IDLE)], 9, id="becomes idle"),
        pytest.param([("a", 9), ("b", IDLE), ("b", 3)], 9, id="wakes up behind"),
        pytest.param([("a", 9), ("b", 4), ("a", IDLE), ("b", IDLE)], 4, id="all become idle"),
        pytest.param([("a", 9), ("b", 9), ("a", 2)], 9, id="says less than before"),
    ],
)
def test_combined_watermark(told, value):
    least = MinWatermark("ab")

    for source, watermark in told:
        least.report(source, watermark)

    assert least.value == value


@given(reports)
def test_watermark_never_goes_back_nor_beyond_a_live_source(told):
    least, known, before = MinWatermark("abc"), {}, None

    for source, watermark in told:
        value = least.report(source, watermark)
        known[source] = watermark

        assert value == least.value
        assert before is None or (value is not None and value >= before)
        if value is not None and value != before:
            assert value == min(mark for mark in known.values() if mark is not IDLE)
            assert set(known) == set("abc")
        before = value


@given(reports, reports)
def test_loaded_watermark_goes_on_as_the_dumped(before, after):
    least, loaded = MinWatermark("abc"), MinWatermark("abc")
    for each in before:
        least.report(*each)

    loaded.load(least.dump())

    assert [loaded.report(*each) for each in after] == [least.report(*each) for each in after]


def test_clock_keeps_the_newest_event():
    clock = PartitionClock(idle_us=10)

    for event in (5, 3, 8, 7):
        clock.advance(event)

    assert clock.newest == 8


def test_clock_is_idle_after_a_silence_at_the_end():
    clock = PartitionClock(idle_us=10, newest=3)

    clock.at_end(100)
    clock.at_end(105)

    assert [clock.is_idle(now) for now in (100, 109, 110)] == [False, False, True]


@pytest.mark.parametrize("wake", [PartitionClock.busy, lambda clock: clock.advance(4)], ids=["more to read", "event"])
def test_clock_wakes(wake):
    clock = PartitionClock(idle_us=10, newest=3)
    clock.at_end(100)

    wake(clock)
    clock.at_end(200)

    assert [clock.is_idle(now) for now in (200, 209, 210)] == [False, False, True]


def test_silence_away_from_the_end_is_not_idle():
    assert not PartitionClock(idle_us=10, newest=3).is_idle(10**9)


@pytest.mark.parametrize(
    ("newest", "idle", "combined"),
    [
        pytest.param([], [], (True, None), id="no partition"),
        pytest.param([7, 5], [False, False], (False, 5), id="the least"),
        pytest.param([7, 5], [False, True], (False, 7), id="but not of the idle"),
        pytest.param([7, None], [False, False], (False, None), id="unknown holds back"),
        pytest.param([7, None], [False, True], (False, 7), id="unknown and idle does not"),
        pytest.param([7, 5], [True, True], (True, None), id="all idle"),
    ],
)
def test_partitions_read_as_one(newest, idle, combined):
    clocks = {}
    for number, (event, silent) in enumerate(zip(newest, idle, strict=True)):
        clocks[str(number)] = clock = PartitionClock(idle_us=10, newest=event)
        if silent:
            clock.at_end(0)

    assert combine(clocks, now_us=10) == combined


def test_repr_tells_who_is_waited_for():
    least = MinWatermark("abc")
    least.report("a", 5)

    assert repr(least) == "<MinWatermark None, waiting for 2>"
