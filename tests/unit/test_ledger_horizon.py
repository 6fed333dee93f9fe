"""What a shard forgets beyond the horizon stays in the totals, and what comes after it is late (design §5.7)."""

import pytest

from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, WINDOWS, Ledger
from tests.unit.ledger_stories import W1H, W5M

SECOND = 1_000_000
HORIZON = 2 * W1H
LATE = ("late_5s_uj", "late_5m_uj", "late_1h_uj")


def at(seconds, **fields):
    start = MIDNIGHT + seconds * SECOND
    return sample(**({"start": start, "end": start + SECOND, "energy_uj": [100], "seq": seconds} | fields))


def costs(intensity, **fields):
    hour = {"zone": "DE", "valid_from": MIDNIGHT, "valid_to": MIDNIGHT + DAY}
    return price(intensity_g_per_kwh=intensity * 3.6e12, **(hour | fields))


def go(ledger, seconds, **fields):
    """The clock's host comes to *seconds*, and the shards hear of it."""
    ledger.read(at(seconds, host="clock", run_id="clock", collector_id="clock", **fields), partition="sample/clock")
    return ledger.report(MIDNIGHT + (seconds + 1) * SECOND).flush()


def forgetful(*records, prices=(), events=()):
    """A ledger that has forgotten the first hour, in which run r1 had the records."""
    ledger = Ledger(horizon_us=HORIZON, shards=1).price(*prices).event(*events).read(*records).flush()
    go(ledger, 3 * 3_600 + 1)
    assert repr(ledger.shards[0]).startswith("<Shard 2 runs, 1 cells")
    return ledger


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_total_keeps_what_is_forgotten(restarted):
    ledger = forgetful(at(0), at(10))
    if restarted:
        ledger.restart()

    ledger.read(at(3 * 3_600 + 5)).flush()

    row = ledger.only("run_total", run_id="r1")
    assert (row["energy_uj"], row["samples"]) == (300, 3)


def test_rows_of_the_store_stay():
    ledger = forgetful(at(0), at(10))

    assert [ledger.total(table, run_id="r1") for table in WINDOWS] == [200, 200, 200]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_forgotten_energy_keeps_the_price_that_it_had(restarted):
    ledger = forgetful(at(0), prices=[costs(1.0)])
    if restarted:
        ledger.restart()

    ledger.price(costs(5.0, revision=9)).flush().read(at(3 * 3_600 + 5)).flush()

    assert ledger.only("run_total", run_id="r1")["emissions_g"] == 100.0 + 500.0


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_better_price_of_the_present_leaves_forgotten_energy_alone(restarted):
    ledger = forgetful(at(0), at(400), prices=[costs(1.0)]).read(at(3 * 3_600 + 5)).flush()
    if restarted:
        ledger.restart()

    ledger.price(costs(5.0, revision=9)).flush()

    assert ledger.only("run_total", run_id="r1")["emissions_g"] == 200.0 + 500.0


def test_pue_still_counts_for_the_whole_run():
    ledger = forgetful(at(0), prices=[costs(1.0)])

    ledger.event(event(pue=2.0)).flush()

    assert ledger.only("run_total", run_id="r1")["emissions_g"] == 200.0


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_phases_keep_their_shares_of_what_is_forgotten(restarted):
    begin = event(type="phase_start", phase="a", at=MIDNIGHT)
    ledger = forgetful(at(0), at(10), events=[begin])
    if restarted:
        ledger.restart()

    ledger.read(at(3 * 3_600 + 5)).event(event(event_id="e2", type="phase_end", phase="a", at=MIDNIGHT + DAY)).flush()

    assert [row["energy_uj"] for row in ledger.table("phase_total")] == [300]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_what_comes_for_a_forgotten_window_of_a_run_that_is_behind_is_late(restarted):
    ledger = forgetful(at(0))
    if restarted:
        ledger.restart()
    before = {table: ledger.table(table, run_id="r1") for table in WINDOWS}

    old = at(1, seq=7, host="h2", collector_id="c2", energy_uj=[30], device=["gpu:7"])
    ledger.read(old, partition="sample/h2").flush()

    assert {table: ledger.table(table, run_id="r1") for table in WINDOWS} == before
    assert [ledger.only("late")[name] for name in LATE] == [30, 30, 30]
    assert ledger.only("run_total", run_id="r1")["energy_uj"] == 130
    assert ledger.table("device_window_5m", device="gpu:7") == []


def test_what_comes_for_a_window_within_the_horizon_of_a_run_that_is_behind_is_not_late():
    ledger = forgetful(at(0), events=[event(at=MIDNIGHT + HORIZON)])

    ledger.read(at(3_601, host="h2", collector_id="c2"), partition="sample/h2").flush()

    assert ledger.table("late") == []
    assert [ledger.total(table, run_id="r1") for table in WINDOWS] == [200, 200, 200]


def test_zone_row_stays_when_its_cells_are_forgotten():
    ledger = forgetful(at(0), at(10))

    ledger.read(at(1, seq=7, host="h2", collector_id="c2"), partition="sample/h2").event(event(pue=1.5)).flush()

    assert ledger.table("zone_window_1h")[0]["energy_uj"] == 200


def test_horizon_is_kept_in_whole_hours():
    ledger = Ledger(horizon_us=HORIZON, shards=1).read(at(0)).flush()

    go(ledger, 3 * 3_600 - 2)
    assert "2 cells" in repr(ledger.shards[0])

    go(ledger, 3 * 3_600 + 1)
    assert "2 cells" in repr(ledger.shards[0])


def test_state_does_not_grow_with_time():
    ledger = Ledger(horizon_us=HORIZON, shards=1)

    sizes = [len(repr(go(ledger, hour * 3_600, energy_uj=[1]).shards[0].dump())) for hour in range(1, 20)]

    assert max(sizes[10:]) < sizes[9] * 1.1
    assert ledger.only("run_total")["energy_uj"] == 19


def test_run_that_is_over_leaves_no_windows_behind():
    ledger = Ledger(horizon_us=HORIZON, shards=1)

    for hour in range(1, 10):
        ledger.read(at(hour * 3_600, run_id=f"run {hour}", collector_id=f"c{hour}"), partition=f"sample/{hour}")
        go(ledger, hour * 3_600)

    kept = {run: {row["final"] for row in ledger.table("device_window_5m", run_id=f"run {run}")} for run in (1, 9)}
    assert kept == {1: {True}, 9: set()}
    shard = ledger.shards[0]
    windows = [len(table) for each in shard._windows for table in (each.rows, each.late, each._hosts)]
    assert max(*windows, *map(len, (shard._cells.fine, shard._cells.slots, shard._devices._table))) <= 2 * 4


def test_late_pieces_of_forgotten_windows_are_forgotten_too():
    ledger = Ledger(horizon_us=HORIZON, shards=1).read(at(7_000))
    ledger.report(MIDNIGHT + 7_000 * SECOND).flush().read(at(0)).flush()
    assert len(ledger.table("late")) == 1

    go(ledger, 5 * 3_600)

    assert [len(windows.late) for windows in ledger.shards[0]._windows] == [0, 0, 0]


def test_first_hour_of_the_epoch_is_no_special_case():
    ledger = Ledger(horizon_us=HORIZON, shards=1).read(sample(start=0, end=W5M)).report(W5M).flush()

    assert ledger.only("run_total")["energy_uj"] == 1_000_000
