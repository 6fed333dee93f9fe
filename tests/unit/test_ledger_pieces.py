"""Samples cut at 5-s edges, held against a plain loop over samples, readings and windows (semantics §2)."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.pieces import cut, energy_class, pivot
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import decoded, frames_of

W5S = 5_000_000
MOST = 2**53 - 1

start = st.integers(0, 4 * W5S) | st.sampled_from((0, 1, W5S - 1, W5S, W5S + 1))
length = st.integers(1, 5 * W5S) | st.sampled_from((1, W5S - 1, W5S, W5S + 1, 2_999_999_999))
energy = st.integers(0, 1000) | st.sampled_from((0, 1, MOST, MOST - 1))
reading = st.tuples(st.integers(-1, 7), st.integers(-1, 8), energy)


@st.composite
def samples(draw, **fixed):
    begin = MIDNIGHT + draw(start)
    kinds, methods, energies = zip(*draw(st.lists(reading, min_size=1, max_size=4)), strict=True)
    return sample(
        start=begin,
        end=begin + draw(length),
        energy_uj=list(energies),
        kind=list(kinds),
        method=list(methods),
        water_ul=draw(st.integers(0, 50) | st.just(MOST)),
        **fixed,
    )


def column(kind, method):
    """The energy column of a reading, from the page: cpu, gpu, memory, other × measured, estimated."""
    return 2 * {1: 0, 2: 1, 3: 2}.get(kind, 3) + (0 if method in (1, 2, 3) else 1)


def parts(record):
    """(window, from, to) of a record's pieces."""
    at = record["start"]
    while at < record["end"]:
        behind = min(record["end"], (at // W5S + 1) * W5S)
        yield at // W5S, at, behind
        at = behind


def share(quantity, record, low, high):
    length = record["end"] - record["start"]
    before, behind = (quantity * (at - record["start"]) // length for at in (low, high))
    return behind - before


def plain(records):
    """(sample, window) → from, to, eight energies, water."""
    found = {}
    for owner, record in enumerate(records):
        for window, low, high in parts(record):
            eight = [0] * 8
            for kind, method, whole in zip(record["kind"], record["method"], record["energy_uj"], strict=True):
                eight[column(kind, method)] += share(whole, record, low, high)
            found[owner, window] = (low, high, eight, share(record["water_ul"], record, low, high))
    return found


@settings(max_examples=60)
@given(st.lists(samples(), min_size=1, max_size=5))
def test_pieces_are_those_of_a_plain_loop(records):
    pieces = cut(decoded(*records)[0])

    columns = (pieces.start, pieces.end, pieces.energy_uj, pieces.water_ul)
    keys = zip(pieces.owner.tolist(), pieces.window.tolist(), strict=True)
    values = zip(*(values.tolist() for values in columns), strict=True)
    assert dict(zip(keys, values, strict=True)) == plain(records)


@settings(max_examples=40)
@given(st.lists(samples(), min_size=1, max_size=5), st.data())
def test_frames_hold_the_cells_of_a_plain_loop(records, data):
    for number, record in enumerate(records):
        record |= {"seq": number, "energy_uj": [each % 1_000_000 for each in record["energy_uj"]]}
        record |= {"run_id": data.draw(st.sampled_from((None, "r1"))), "zone": data.draw(st.sampled_from(("DE", "FR")))}

    ((_, frame),) = frames_of(*records)

    cells = defaultdict(lambda: [np.zeros(8, np.int64), 0, 0, math.inf, 0, 0])
    for (owner, window), (low, high, eight, water) in plain(records).items():
        cell = cells[records[owner]["run_id"] or "~h1", "h1", records[owner]["zone"], window]
        cell[0] += eight
        cell[1] += water
        cell[2] += high - low
        cell[3], cell[4] = min(cell[3], low), max(cell[4], high)
        cell[5] += low == records[owner]["start"]
    names = ("energy_uj", "water_ul", "covered_us", "first_us", "last_us", "samples")
    found = {
        (*frame.places[place], window): [frame.cells[name][at].tolist() for name in names]
        for at, (place, window) in enumerate(zip(frame.cell_place.tolist(), frame.cell_window.tolist(), strict=True))
    }
    assert found == {key: [cell[0].tolist(), *cell[1:]] for key, cell in cells.items()}


def test_very_many_pieces_are_cut_in_portions():
    records = [
        sample(seq=number, start=MIDNIGHT, end=MIDNIGHT + 2_999_999_999, energy_uj=[number] * 250)
        for number in range(8)
    ]

    pieces = cut(decoded(*records)[0])

    assert Counter(pieces.owner.tolist()) == dict.fromkeys(range(8), 600)
    assert pieces.energy_uj.sum() == 250 * sum(range(8))


@pytest.mark.parametrize("values", [[1, 2, 4], [2**53 - 1] * 3, [2**52, 2**52 - 1, 1]], ids=["small", "huge", "edge"])
def test_pivot_is_exact_on_both_sides_of_what_a_double_holds(values):
    row, which = np.array([1, 1, 0]), np.array([3, 3, 7])

    table = pivot(2, row, which, np.array(values))

    assert (table[1, 3], table[0, 7], table.sum()) == (values[0] + values[1], values[2], sum(values))


@pytest.mark.parametrize("method", range(-1, 9))
@pytest.mark.parametrize("kind", [-(2**31), -1, 0, 1, 2, 3, 4, 5, 6, 2**31 - 1])
def test_every_code_has_a_column(kind, method):
    assert energy_class(np.array([kind]), np.array([method])).tolist() == [column(kind, method)]
