"""Which phase holds at an instant, and its share of the run's cells (semantics §2, phases)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.phases import UNPHASED, cut, durations, held_us, settle_marks, timeline
from kappawatt.ledger.runs import Event, Run, is_mark
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, Ledger

SECOND = 1_000_000
W5S = 5 * SECOND


def mark(instant, phase, *, end=False, event_id=""):
    kind = "phase_end" if end else "phase_start"
    return Event(instant, event_id or f"{phase}{instant}{kind}", kind, {"phase": phase})


def start(instant, phase, event_id=""):
    return mark(instant, phase, event_id=event_id)


def stop(instant, phase):
    return mark(instant, phase, end=True)


def line(*marks):
    """(from, phase) of a timeline without its beginning and the end of time."""
    found = timeline(marks)
    changes = list(zip(found.starts.tolist()[1:], found.names[1:], strict=True))
    return [change for change in changes if change[0] < 1 << 62]


@pytest.mark.parametrize(
    ("marks", "held"),
    [
        pytest.param([start(1, "a"), stop(4, "a")], [(1, "a"), (4, UNPHASED)], id="one"),
        pytest.param([stop(4, "a"), start(1, "a")], [(1, "a"), (4, UNPHASED)], id="order of arrival does not matter"),
        pytest.param([start(1, "a")], [(1, "a")], id="never closed"),
        pytest.param([stop(4, "a")], [], id="never opened"),
        pytest.param([start(1, "a"), start(3, "b"), stop(5, "b"), stop(9, "a")],
                     [(1, "a"), (3, "b"), (5, "a"), (9, UNPHASED)], id="nested"),
        pytest.param([start(1, "a"), start(3, "b"), stop(5, "a"), stop(9, "b")],
                     [(1, "a"), (3, "b"), (9, UNPHASED)], id="overlapping: the latest started holds"),
        pytest.param([start(1, "a"), start(3, "b"), stop(5, "a")], [(1, "a"), (3, "b")], id="inner never closed"),
        pytest.param([start(1, "a"), start(4, "a"), stop(6, "a")], [(1, "a"), (6, UNPHASED)], id="started twice"),
        pytest.param([start(1, "a"), start(2, "b"), start(4, "a")], [(1, "a"), (2, "b"), (4, "a")],
                     id="started anew: it is the latest"),
        pytest.param([start(1, "a", "1"), mark(1, "a", end=True, event_id="2")], [], id="zero length"),
        pytest.param([start(1, "a", "2"), mark(1, "a", end=True, event_id="1")], [(1, "a")], id="ended, then begun"),
        pytest.param([start(1, "a"), start(1, "b")], [(1, "b")], id="at one instant the greater event id holds"),
        pytest.param([start(1, "b", "1"), start(1, "a", "2")], [(1, "a")], id="whatever the name"),
        pytest.param([start(1, "a"), stop(3, "a"), start(3, "b"), stop(4, "b")],
                     [(1, "a"), (3, "b"), (4, UNPHASED)], id="one behind the other"),
        pytest.param([start(1, "unphased"), stop(3, "unphased")], [], id="called unphased"),
    ],
)  # fmt: skip
def test_phase_that_holds(marks, held):
    assert line(*marks) == held


def test_no_marks_have_no_timeline():
    assert timeline([]) is None


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        ({"phase": "a"}, True),
        ({"phase": "a", "rank": 0}, True),
        ({"phase": "a", "rank": 1}, False),
        ({"phase": "a", "rank": -1}, False),
        ({"phase": ""}, False),
        ({}, False),
    ],
)
def test_only_named_events_of_the_first_rank_make_phases(values, is_one):
    assert is_mark(Event(0, "e", "phase_start", values)) is is_one
    assert not is_mark(Event(0, "e", "epoch", values))


marks = st.lists(
    st.builds(
        lambda instant, name, end, number: mark(instant, name, end=end, event_id=f"{number:03d}"),
        st.integers(-2, 30),
        st.sampled_from("abc"),
        st.booleans(),
        st.integers(0, 999),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each.event_id,
)


def holds(events, instant):
    """The page, read word by word, for one instant."""
    open_ = {}
    for each in sorted(events, key=lambda each: (each.at, each.event_id)):
        if each.at > instant:
            break
        open_.pop(each.values["phase"], None)
        if each.type == "phase_start":
            open_[each.values["phase"]] = (each.at, each.event_id)
    return max(open_, key=lambda name: open_[name], default=UNPHASED)


@given(marks)
def test_timeline_is_that_of_a_plain_loop(events):
    found = timeline(events)

    at = np.searchsorted(found.starts, np.arange(-4, 33), side="right") - 1
    assert [found.names[index] for index in at.tolist()] == [holds(events, instant) for instant in range(-4, 33)]


@given(marks, st.integers(-3, 20), st.integers(1, 12))
def test_phases_hold_the_whole_span_between_them(events, first, length):
    held = held_us(timeline(events), first, first + length)

    names = [holds(events, instant) for instant in range(first, first + length)]
    assert held == {name: names.count(name) for name in names}


cell = st.tuples(st.integers(0, 2), st.integers(-2, 25), st.integers(1, 5), st.integers(0, 2**53 - 1))


@settings(max_examples=60)
@given(st.lists(marks, min_size=3, max_size=3), st.lists(cell, min_size=1, max_size=5))
def test_parts_are_floor_differences_and_add_up_to_the_cells(events, cells):
    own, first, length, energy = (np.array(column, np.int64) for column in zip(*cells, strict=True))
    lines = [timeline(each) for each in events]

    parts = cut(lines, own, first, first + length, np.stack((energy, energy // 3), axis=1))

    found = {}
    for owner, line, phase, values in zip(*(column.tolist() for column in parts), strict=True):
        assert line == own[owner]
        before = found.setdefault((owner, lines[line].names[phase]), [0, 0])
        before[:] = [one + two for one, two in zip(before, values, strict=True)]
    plain = {}
    for owner, (line, begin, long, whole) in enumerate(cells):
        for step in range(long):
            before = plain.setdefault((owner, holds(events[line], begin + step)), [0, 0])
            share = [part * (step + 1) // long - part * step // long for part in (whole, whole // 3)]
            before[:] = [one + two for one, two in zip(before, share, strict=True)]
    assert found == plain


@pytest.mark.parametrize("far", [1 << 45, 1 << 58, (1 << 61) - 10], ids=["a year", "9000 years", "as far as it goes"])
def test_cells_that_are_far_apart_are_cut_as_well(far):
    lines = [timeline([start(1, "a"), stop(far, "a")]) for _ in range(5)]
    begin = np.array([0, far - 1] * 5)

    parts = cut(lines, np.repeat(np.arange(5), 2), begin, begin + 2, np.full((10, 1), 8))

    names = [lines[line].names[phase] for line, phase in zip(parts.line, parts.phase, strict=True)]
    assert names == [UNPHASED, "a", "a", UNPHASED] * 5
    assert parts.values.tolist() == [[4]] * 20


def test_no_cells_have_no_parts():
    none = np.empty(0, np.int64)

    parts = cut([], none, none, none, np.empty((0, 9), np.int64))

    assert [len(column) for column in parts] == [0, 0, 0, 0]


def run_of(*marks, until=100):
    run = Run(first_start=0, last_end=until)
    run.marks.extend(marks)
    return run


@given(marks, st.lists(st.integers(-3, 40), max_size=4), st.integers(0, 40))
def test_marks_that_are_settled_tell_the_same_of_what_is_open(events, edges, until):
    run, plain = run_of(*events, until=until), run_of(*events, until=until)

    for edge in edges:
        settle_marks(run, edge)

    assert durations(run, timeline(run.marks)) == durations(plain, timeline(plain.marks))
    assert sum(durations(run, timeline(run.marks)).values()) == until
    instants = range(max([0, *edges]), 41)
    assert [holds(run.marks, at) for at in instants] == [holds(events, at) for at in instants]


def test_settled_marks_are_one_a_phase():
    run = run_of(*(mark(second, "ab"[second % 2], end=second % 4 > 1) for second in range(90)))

    settle_marks(run, 80)

    assert sorted(each.at for each in run.marks) == [78, 79, *range(80, 90)]


# --- the rows of a run ------------------------------------------------------------------------------------------------


def at(seconds, kind, phase, **fields):
    name = f"{phase}{seconds}{kind}"
    return event(event_id=name, at=MIDNIGHT + seconds * SECOND, type=f"phase_{kind}", phase=phase, **fields)


def ten_seconds(**fields):
    return sample(**({"start": MIDNIGHT, "end": MIDNIGHT + 2 * W5S, "energy_uj": [100]} | fields))


def phases(ledger, column="energy_uj"):
    return {row["phase"]: row[column] for row in ledger.table("phase_total")}


def test_phases_share_the_cells_of_the_run():
    ledger = Ledger().read(ten_seconds()).event(at(1, "start", "train"), at(6, "end", "train")).end()

    assert phases(ledger) == {"train": 50, UNPHASED: 50}
    assert phases(ledger, "duration_us") == {"train": 5 * SECOND, UNPHASED: 5 * SECOND}


def test_cell_stands_for_its_window_as_far_as_the_run_spans():
    record = sample(start=MIDNIGHT + SECOND, end=MIDNIGHT + 4 * SECOND, energy_uj=[30])

    ledger = Ledger().read(record).event(at(0, "start", "a"), at(2, "end", "a")).end()

    assert phases(ledger) == {"a": 10, UNPHASED: 20}


def test_run_without_phase_events_has_no_phase_rows():
    assert phases(Ledger().read(ten_seconds()).event(event(type="start")).end()) == {}


def test_rank_above_0_makes_no_phases():
    assert phases(Ledger().read(ten_seconds()).event(at(1, "start", "a", rank=1)).end()) == {}


def test_phase_that_holds_no_part_of_a_cell_has_no_row():
    assert phases(Ledger().read(ten_seconds()).event(at(11, "start", "after")).end()) == {UNPHASED: 100}


def test_row_goes_when_a_later_event_leaves_the_phase_nothing():
    ledger = Ledger().read(ten_seconds()).event(at(0, "start", "a")).flush()
    assert phases(ledger) == {"a": 100}

    ledger.restart().event(at(0, "start", "b")).flush()

    assert phases(ledger) == {"b": 100}


def test_phases_are_priced_by_the_cells_they_hold():
    cheap = price(valid_from=MIDNIGHT, valid_to=MIDNIGHT + DAY, intensity_g_per_kwh=3.6e12)

    ledger = Ledger().price(cheap).read(ten_seconds()).event(at(5, "start", "a"), event(pue=1.5)).end()

    assert phases(ledger, "emissions_g") == {"a": 75.0, UNPHASED: 75.0}


def test_phases_of_several_zones_add_up_to_the_total():
    records = [ten_seconds(), ten_seconds(seq=1, zone="FR"), ten_seconds(seq=2, host="h2", energy_uj=[7])]

    ledger = Ledger().read(*records).event(at(3, "start", "a"), at(4, "end", "a")).end()

    assert sum(phases(ledger).values()) == ledger.only("run_total")["energy_uj"] == 207
