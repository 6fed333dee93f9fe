"""Cutting and sharing out, exact to the last unit, held against Python's own integers and fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.split import part_before, share_out, split

LONGEST = 2_999_999_999  # µs: the longest interval that is not `too_long`
MOST = 2**53 - 1
WIDTH = 5_000_000
NOW = 1_740_873_600_000_000

start = st.integers(0, 2**51) | st.integers(NOW // WIDTH, NOW // WIDTH + 9).map(lambda window: window * WIDTH)
length = st.integers(1, LONGEST) | st.sampled_from((1, 2, WIDTH - 1, WIDTH, WIDTH + 1, LONGEST))
quantity = st.integers(0, MOST) | st.sampled_from((0, 1, 2, MOST, MOST - 1))
interval = st.tuples(quantity, start, length)


def ints(*values):
    return [np.array(column, np.int64) for column in values]


@given(quantity | st.integers(0, 2**63 - 1), start, length, st.data())
def test_part_before_is_the_floor_of_the_exact_fraction(whole, begin, long, data):
    instant = begin + data.draw(st.integers(0, long) | st.sampled_from((0, 1, long - 1, long)))

    part = part_before(*ints([whole], [begin], [begin + long], [instant]))

    assert part.tolist() == [floor(Fraction(whole) * (instant - begin) / long)]


@given(st.lists(interval, max_size=4), st.sampled_from((1_000_000_000, 300_000_000, WIDTH * 7, 3_600_000_000)))
def test_shares_are_the_exact_ones_and_add_up(intervals, width):
    energy, begin, long = ints(*zip(*intervals, strict=True)) if intervals else ints([], [], [])
    end = begin + long

    pieces = split(begin, end, width)
    shares = share_out(energy, begin, end, pieces).tolist()

    sums = [0] * len(intervals)
    for owner, share in zip(pieces.owner.tolist(), shares, strict=True):
        sums[owner] += share
    assert sums == energy.tolist()
    rows = zip(pieces.owner.tolist(), pieces.start.tolist(), pieces.end.tolist(), shares, strict=True)
    for owner, low, high, share in rows:
        whole, first, duration = intervals[owner]
        before, behind = (floor(Fraction(whole) * (at - first) / duration) for at in (low, high))
        assert share == behind - before >= 0


@given(st.lists(st.tuples(start, st.integers(1, 60_000_000)), max_size=6), st.sampled_from((WIDTH, 1_000_000)))
def test_pieces_are_those_of_a_plain_loop(intervals, width):
    begin, long = ints(*zip(*intervals, strict=True)) if intervals else ints([], [])

    pieces = split(begin, begin + long, width)

    plain = []
    for owner, (first, duration) in enumerate(intervals):
        at = first
        while at < first + duration:
            stop = min(first + duration, (at // width + 1) * width)
            plain.append((owner, at // width, at, stop))
            at = stop
    found = zip(pieces.owner, pieces.window, pieces.start, pieces.end, strict=True)
    assert [tuple(map(int, piece)) for piece in found] == plain


@pytest.mark.parametrize(
    ("begin", "end", "parts"),
    [
        pytest.param(0, 1, [(0, 0, 1)], id="one microsecond"),
        pytest.param(0, WIDTH, [(0, 0, WIDTH)], id="edge to edge"),
        pytest.param(WIDTH - 1, WIDTH, [(0, WIDTH - 1, WIDTH)], id="ends on an edge"),
        pytest.param(WIDTH, WIDTH + 1, [(1, WIDTH, WIDTH + 1)], id="begins on an edge"),
        pytest.param(
            WIDTH - 1, WIDTH + 1, [(0, WIDTH - 1, WIDTH), (1, WIDTH, WIDTH + 1)], id="a microsecond on each side"
        ),
    ],
)
def test_edges_belong_to_the_window_behind_them(begin, end, parts):
    pieces = split(*ints([begin], [end]), WIDTH)

    found = zip(pieces.window.tolist(), pieces.start.tolist(), pieces.end.tolist(), strict=True)
    assert list(found) == parts


def test_greatest_reading_of_the_longest_interval_loses_nothing():
    begin, end, energy = ints([NOW + 2], [NOW + 2 + LONGEST], [MOST])

    pieces = split(begin, end, WIDTH)

    assert len(pieces.owner) == 601
    assert share_out(energy, begin, end, pieces).sum() == MOST


def test_no_intervals_have_no_pieces():
    assert len(split(*ints([], []), WIDTH).owner) == 0
