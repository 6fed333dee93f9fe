"""Keys of the shard's tables, and the shards of runs: what a state's life depends on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.errors import KappawattError
from kappawatt.ledger.keys import (
    RUN_MASK,
    ZONE_MASK,
    cell_key,
    check_codes,
    row_key,
    run_of,
    wide_sums,
    window_of,
    with_window,
    zone_of,
)
from kappawatt.ledger.routing import shard_of
from tests.oracle.records import sample
from tests.unit.ledger_kit import Ledger, frames_of

window = st.integers(0, 2**31 - 1)
run = st.integers(0, RUN_MASK)
zone = st.integers(0, ZONE_MASK)


@given(window, run, zone, st.sampled_from((1, 12, 60)))
def test_key_gives_back_what_it_was_made_of(number, code, place, divisor):
    key = cell_key(*(np.array([each], np.int64) for each in (number, code, place)))

    assert [part(key).tolist() for part in (window_of, run_of, zone_of)] == [[number], [code], [place]]
    row = with_window(row_key(key), divisor)
    assert [part(row).tolist() for part in (window_of, run_of, zone_of)] == [[number // divisor], [code], [0]]


@given(st.lists(st.tuples(window, run, zone), min_size=1, max_size=20))
def test_keys_sort_by_window_then_run_then_zone(cells):
    keys = [int(cell_key(*(np.array([each], np.int64) for each in cell))[0]) for cell in cells]

    assert [cells[at] for at in sorted(range(len(keys)), key=keys.__getitem__)] == sorted(cells)


def test_as_many_names_fit_as_a_key_holds():
    check_codes(RUN_MASK, ZONE_MASK)


@pytest.mark.parametrize(("runs", "zones"), [(RUN_MASK + 1, 1), (1, ZONE_MASK + 1)])
def test_more_names_than_a_key_holds_are_refused(runs, zones):
    with pytest.raises(KappawattError, match="use more shards"):
        check_codes(runs, zones)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**63 - 1), st.integers(0, 9)), max_size=8))
def test_wide_sums_are_pythons(rows):
    group, *columns = (np.array([row[part] for row in rows], np.int64) for part in range(3))

    sums = wide_sums(group, 3, np.stack(columns, axis=1))

    assert sums == [[sum(row[part] for row in rows if row[0] == each) for part in (1, 2)] for each in range(3)]


def test_run_keeps_its_shard_for_ever():
    assert [shard_of(run_id, 32) for run_id in ("", "run-1", "~h1", "rün/✓")] == [0, 3, 29, 30]


def test_frames_hold_the_runs_of_their_shard_and_all_samples():
    ledger = Ledger(shards=7)
    records = [sample(seq=number, run_id=f"r{number % 20}", host=f"h{number % 3}") for number in range(40)]

    frames = frames_of(*records, config=ledger.config)

    assert [shard for shard, _ in frames] == sorted({shard_of(record["run_id"], 7) for record in records})
    for shard, frame in frames:
        assert {shard_of(name.run_id, 7) for name in (*frame.places, *frame.devices)} == {shard}
        assert {place.run_id for place in frame.places} == {device.run_id for device in frame.devices}
    assert sum(frame.cells["samples"].sum() for _, frame in frames) == 40
    assert sum(frame.device_rows["energy_uj"].sum() for _, frame in frames) == 40 * 1_000_000


def test_ledger_of_many_shards_has_the_rows_of_one():
    records = [sample(seq=number, run_id=f"r{number % 20}", host=f"h{number % 3}") for number in range(40)]

    assert Ledger(shards=31).read(*records).end().rows == Ledger(shards=1).read(*records).end().rows
