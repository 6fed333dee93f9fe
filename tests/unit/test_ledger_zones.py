"""The fleet by zone and hour: shards say their whole contribution, and the latest counts (semantics §2, zone rows)."""

import pytest

from kappawatt.ledger.control import price as price_of
from kappawatt.ledger.zones import Over, ZoneHour, ZoneTotals
from kappawatt.stores.tables import TABLES
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, Ledger
from tests.unit.ledger_stories import W1H

SECOND = 1_000_000
KWH = 3_600_000_000_000
HOUR = MIDNIGHT // W1H
PRICE = tuple(price_of(price(zone="DE", intensity_g_per_kwh=400.0)) or ())


def part(energy, *, zone="DE", hour=HOUR, price=None, pue=1.0, water_ul=0, wue=(), runs=1, final=False):
    eight = (0, 0, energy, *[0] * 5)
    return ZoneHour(zone, hour, eight, ((energy, price, pue),), water_ul, wue, runs, final)


def rows(totals):
    return [dict(zip(TABLES["zone_window_1h"].columns, row, strict=True)) for row in totals.flush()]


def totals_of(*parts):
    totals = ZoneTotals()
    for shard, each in parts:
        totals.replace(shard, each)
    return totals


def test_contribution_replaces_the_one_before_it():
    totals = totals_of((1, part(10)), (1, part(15)), (2, part(100)))

    (row,) = rows(totals)

    assert (row["energy_uj"], row["gpu_uj"], row["runs"]) == (115, 115, 2)
    assert (row["zone"], row["date"], row["window_start"]) == ("DE", "2025-03-02", MIDNIGHT)


def test_contribution_may_go_down():
    totals = totals_of((1, part(10)), (2, part(5)))
    rows(totals)

    totals.replace(1, part(3))

    assert rows(totals)[0]["energy_uj"] == 8


def test_only_changed_rows_are_given():
    totals = totals_of((1, part(10)), (1, part(20, hour=HOUR + 1)), (1, part(30, zone="FR")))
    assert len(rows(totals)) == 3
    assert rows(totals) == []

    totals.replace(2, part(1, zone="FR"))

    assert [(row["zone"], row["energy_uj"]) for row in rows(totals)] == [("FR", 31)]


@pytest.mark.parametrize(("finals", "final"), [((True, True), True), ((True, False), False), ((False, False), False)])
def test_row_is_final_when_all_contributions_are(finals, final):
    totals = totals_of(*((shard, part(1, final=each)) for shard, each in enumerate(finals)))

    assert rows(totals)[0]["final"] is final


def test_same_price_and_pue_of_several_shards_are_one_group():
    totals = totals_of((1, part(KWH // 3, price=PRICE, pue=1.1)), (2, part(KWH - KWH // 3, price=PRICE, pue=1.1)))

    assert rows(totals)[0]["emissions_g"] == 1.0 * 1.1 * 400.0


def test_sums_go_beyond_64_bits():
    totals = totals_of((1, part(2**63 - 1)), (2, part(2**63 - 1)))

    assert rows(totals)[0]["energy_uj"] == 2**64 - 2


def test_loaded_totals_give_what_the_dumped_would_have():
    totals, again = totals_of((1, part(10)), (2, part(20, hour=HOUR + 5, final=Over.PASSED))), ZoneTotals()
    rows(totals)

    again.load(totals.dump())

    assert rows(again) == []
    assert again.newest_over == HOUR + 5
    again.replace(3, part(7))
    assert [row["energy_uj"] for row in rows(again)] == [17]


def test_forgotten_hours_are_gone():
    totals = totals_of((1, part(10)), (2, part(20, hour=HOUR + 5)))
    rows(totals)

    totals.forget_before(HOUR + 1)

    assert repr(totals) == "<ZoneTotals 1 zone hours>"


# --- from samples -----------------------------------------------------------------------------------------------------


def at(seconds, **fields):
    start = MIDNIGHT + seconds * SECOND
    return sample(**({"start": start, "end": start + SECOND, "energy_uj": [100], "seq": seconds} | fields))


def test_flushes_do_not_add_up():
    ledger = Ledger()

    for seconds in range(0, 100, 10):
        ledger.read(at(seconds), at(seconds + 1, run_id=f"r{seconds}")).flush()

    row = ledger.only("zone_window_1h")
    assert (row["energy_uj"], row["runs"]) == (2_000, 11)


def test_restart_does_not_add_up():
    ledger = Ledger().read(at(0), at(1, run_id="r2")).flush().restart().read(at(2)).flush()

    assert ledger.only("zone_window_1h")["energy_uj"] == 300


def test_rows_are_by_zone_and_hour():
    ledger = Ledger().read(at(3_599, end=MIDNIGHT + 3_601 * SECOND), at(0, zone="FR"), at(1, run_id=None)).end()

    found = [
        (row["zone"], row["window_start"], row["energy_uj"], row["runs"]) for row in ledger.table("zone_window_1h")
    ]
    assert found == [("DE", MIDNIGHT, 150, 2), ("DE", MIDNIGHT + W1H, 50, 1), ("FR", MIDNIGHT, 100, 1)]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_hour_is_final_when_no_run_can_change_it_in_time(restarted):
    ledger = Ledger().read(at(0)).report(MIDNIGHT + W1H + 899 * SECOND).flush()
    assert not ledger.only("zone_window_1h")["final"]
    if restarted:
        ledger.restart()

    ledger.report(MIDNIGHT + W1H + 900 * SECOND).flush()

    assert ledger.only("zone_window_1h")["final"]


def test_restart_does_not_forget_how_far_the_buckets_have_come():
    ledger = Ledger("a", "b").read(at(0))
    for bucket in ledger.names:
        ledger.report(MIDNIGHT + 2 * W1H, bucket=bucket)
    ledger.flush().restart()

    ledger.read(at(1, run_id="r2", host="h2")).flush()

    row = ledger.only("zone_window_1h")
    assert (row["energy_uj"], row["final"]) == (200, True)


def test_site_water_is_measured_or_by_the_effectiveness_of_each_run():
    wet = price(zone="DE", valid_from=MIDNIGHT, valid_to=MIDNIGHT + DAY, water_l_per_kwh=0.0)
    by_wue = [event(run_id=run, event_id=run, wue_l_per_kwh=1.8) for run in ("r1", "r2", "r3")]
    samples = [
        at(0, run_id="r1", water_ul=250_000, energy_uj=[10**9]),
        at(1, run_id="r2", energy_uj=[9 * 10**8]),
        at(2, run_id="r3", energy_uj=[9 * 10**8]),
        at(3, run_id="r4", energy_uj=[10**9]),
    ]

    ledger = Ledger().price(wet).event(*by_wue).read(*samples).end()

    assert ledger.only("zone_window_1h")["water_l"] == 0.25 + 18 * 10**8 / 3.6e12 * 1.8


def test_runs_of_one_zone_have_their_own_pue():
    same = price(zone="DE", valid_from=MIDNIGHT, valid_to=MIDNIGHT + DAY, intensity_g_per_kwh=3.6e12)
    ledger = Ledger().price(same).event(event(run_id="r1", pue=1.5)).read(at(0), at(1, run_id="r2")).end()

    assert ledger.only("zone_window_1h")["emissions_g"] == 250.0
