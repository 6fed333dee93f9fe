"""Final 5-s rows leave the state; what is priced anew of them is priced in the store, the same to the last bit."""

import pickle

import pytest

from kappawatt.ledger import shard as shards
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import Place
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.repricing import Reprice, repriced
from kappawatt.ledger.runs import Event
from kappawatt.ledger.shard import Shard
from kappawatt.testing.emissions import EmissionsDriver
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_days import HOUR, frame
from tests.unit.ledger_kit import DAY, Ledger, messages
from tests.unit.ledger_stories import W1H, W5M, W5S

SECOND = 1_000_000
KWH = 3_600_000_000_000


def at(seconds, **fields):
    start = MIDNIGHT + seconds * SECOND
    return sample(**({"start": start, "end": start + SECOND, "energy_uj": [100], "seq": seconds} | fields))


def costs(intensity, **fields):
    hour = {"zone": "DE", "valid_from": MIDNIGHT, "valid_to": MIDNIGHT + W1H}
    return price(intensity_g_per_kwh=intensity, **(hour | fields))


def settled(*records, **config):
    """A ledger whose run r1 has come far behind the records, so that their windows are evicted."""
    ledger = Ledger(shards=1, **config).read(*records, at(7_200, energy_uj=[0])).report(MIDNIGHT + 7_200 * SECOND)
    return ledger.flush()


def cells(ledger):
    return [len(shard._cells.fine) for shard in ledger.shards]


def test_final_rows_leave_the_state():
    ledger = settled(at(0), at(5), at(10))

    assert cells(ledger) == [1]  # the newest
    assert [row["final"] for row in ledger.table("run_window_5s")] == [True, True, True, False]


@pytest.mark.parametrize(
    "fields", [{"zone": "FR", "collector_id": "c2"}, {"water_ul": 7, "collector_id": "c2"}], ids=["two zones", "water"]
)
def test_row_that_does_not_say_what_it_is_made_of_stays_until_the_horizon(fields):
    ledger = settled(at(0), at(0, **fields), at(5))

    assert cells(ledger)[0] > 1
    ledger.price(costs(100.0, water_l_per_kwh=1.5)).flush()
    late = [row for row in ledger.table("run_window_5s") if row["window_start"] < MIDNIGHT + W1H]
    first = Ledger(shards=1).price(costs(100.0, water_l_per_kwh=1.5)).read(at(0), at(0, **fields), at(5)).end()
    assert late == first.table("run_window_5s")


def test_order_means_the_settled_rows_only():
    ledger = settled(at(0), at(5), at(5, zone="FR", collector_id="c2"), at(400))

    ledger.price(costs(100.0))
    flush = ledger.shards[0].flush()

    assert [order[:4] for order in flush.orders] == [("r1", "2025-03-02", MIDNIGHT // W5M, (1, 1 << 20))]
    assert [row[2] for row in flush.rows["run_window_5s"]] == [MIDNIGHT + W5S]


def test_order_ends_at_midnight_and_at_another_price():
    two_hours = {"valid_from": MIDNIGHT - W1H, "valid_to": MIDNIGHT + W1H}
    ledger = settled(*(at(seconds) for seconds in range(-900, 900, 300)))
    ledger.price(costs(1.0, valid_from=MIDNIGHT + W5M, valid_to=MIDNIGHT + 2 * W5M)).flush()

    ledger.price(costs(9.0, **two_hours))
    orders = ledger.shards[0].flush().orders

    assert [(order.date, len(order.settled)) for order in orders] == [
        ("2025-03-01", 3),
        ("2025-03-02", 1),
        ("2025-03-02", 1),
    ]


def test_orders_that_are_too_many_wait_and_outlive_a_restart(monkeypatch):
    monkeypatch.setattr(shards, "_ORDERS", 5)
    ledger = settled(*(at(seconds) for seconds in range(0, 3_600, 300)))

    ledger.price(costs(100.0)).flush()
    priced = [sum(row["emissions_g"] is not None for row in ledger.table("run_window_5s"))]
    totals = ledger.only("run_total")["emissions_g"]
    while ledger.shards[0].has_more:
        ledger.restart().flush()
        priced.append(sum(row["emissions_g"] is not None for row in ledger.table("run_window_5s")))

    assert priced == [5, 10, 12]
    assert ledger.only("run_total")["emissions_g"] == totals


def test_order_obeyed_twice_is_the_order_obeyed_once():
    row = Ledger().read(at(0)).end().only("run_window_5s")
    record = messages(prices=[costs(124.0, price_per_kwh=0.3, currency="EUR", water_l_per_kwh=1.1)])[0]
    order = Reprice("r1", "2025-03-02", MIDNIGHT // W5M, (1,), tuple(record), 1.3, 0.2)

    once = repriced(order, [row])

    assert repriced(order, once) == once
    assert once[0]["emissions_g"] == 100 / KWH * 1.3 * 124.0


def test_order_leaves_rows_alone_that_it_does_not_mean():
    rows = [{"window_start": MIDNIGHT + W5S * index, "energy_uj": 1} for index in (0, 1, 59, 60)]
    order = Reprice("r1", "2025-03-02", MIDNIGHT // W5M, (0b10,), None, 1.0, None)

    assert [row["window_start"] for row in repriced(order, rows)] == [MIDNIGHT + W5S]


def test_pue_that_comes_later_prices_settled_rows_anew():
    ledger = settled(at(0), at(300)).price(costs(100.0)).flush()

    ledger.event(event(pue=2.0)).flush()

    found = [row["emissions_g"] for row in ledger.table("run_window_5s")][:2]
    assert found == [100 / KWH * 2.0 * 100.0] * 2


# --- phases of what is settled ----------------------------------------------------------------------------------------


def mark(seconds, phase, *, end=False):
    kind = "phase_end" if end else "phase_start"
    return event(event_id=f"{kind}{phase}{seconds}", type=kind, phase=phase, at=MIDNIGHT + seconds * SECOND)


def phases(ledger, column="energy_uj"):
    return {row["phase"]: row[column] for row in ledger.table("phase_total")}


def test_mark_that_comes_too_late_holds_from_the_settled_edge_on():
    ledger = settled(at(0), at(300), at(6_000))

    ledger.event(mark(0, "train")).flush()

    assert phases(ledger) == {"unphased": 300, "train": 0}
    assert phases(ledger, "duration_us") == {"unphased": 6_300 * SECOND, "train": 901 * SECOND}
    assert sum(phases(ledger).values()) == ledger.only("run_total")["energy_uj"]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_better_price_of_settled_cells_prices_their_phases(restarted):
    ledger = Ledger(shards=1).event(mark(0, "a"), mark(301, "b"))
    ledger.read(at(0), at(300, end=MIDNIGHT + 302 * SECOND), at(7_200)).report(MIDNIGHT + 7_200 * SECOND).flush()
    if restarted:
        ledger.restart()

    ledger.price(costs(KWH * 1.0)).flush()

    assert phases(ledger, "emissions_g") == {"a": 120.0, "b": 80.0}
    assert phases(ledger, "unpriced_uj") == {"a": 0, "b": 100}


def test_late_pieces_are_shared_out_when_they_come():
    ledger = settled(at(0)).event(mark(0, "a")).flush()
    ledger.event(mark(6_900, "b")).flush()

    ledger.read(at(1, seq=999)).flush()

    assert sum(phases(ledger).values()) == ledger.only("run_total")["energy_uj"] == 200
    assert sum(phases(ledger, "duration_us").values()) == 7_201 * SECOND


# --- the whole job ----------------------------------------------------------------------------------------------------


def revised(driver):
    """An hour of a run, its rows final and priced, and then a revision of that price."""
    clock = at(9_000, run_id="clock", host="h2", collector_id="c2", energy_uj=[1])
    driver.prices(costs(124.0, revision=1)).events(event(type="start", pue=1.2)).run(2)
    driver.samples("1", *(at(seconds) for seconds in (*range(0, 3_600, 60), 8_000))).samples("0", clock).run(4)
    driver.prices(costs(104.0, revision=2))
    return driver


def shown(driver):
    tables = ("run_window_5s", "run_window_5m", "run_window_1h", "run_total", "zone_window_1h", "restatement")
    return {name: {key: row for key, (row, _) in driver.store.content(name).items()} for name in tables}


@pytest.mark.parametrize("epochs", range(5))
def test_crash_anywhere_between_a_revision_and_its_rows_gives_the_same_rows(epochs):
    plain = shown(revised(EmissionsDriver(start_us=MIDNIGHT + DAY)).run(6))
    driver = revised(EmissionsDriver(start_us=MIDNIGHT + DAY, seed=epochs)).run(epochs)

    driver.crash(durable=0.5)
    driver.start().run(6)

    assert shown(driver) == plain
    final = [row[10] for row in plain["run_window_5s"].values() if row[2] < MIDNIGHT + W1H]
    assert final == [100 / KWH * 1.2 * 104.0] * 60


# --- how much it is ---------------------------------------------------------------------------------------------------


def day_of(runs, *, marks, hours=24):
    """A shard that some runs have kept busy."""
    shard = Shard(LedgerConfig(), ("b",))
    places = [Place(f"run-{number}", f"host-{number}", "DE-LU") for number in range(runs)]
    for hour in range(hours):
        begin = MIDNIGHT + hour * HOUR
        shard.add(*messages(prices=[costs(100.0 + hour, zone="DE-LU", valid_from=begin, valid_to=begin + W1H)]))
        for place in places if marks else ():
            for number in range(36):
                fields = {"phase": ("data", "train", "save")[number % 3]}
                instant = begin + number * 100 * SECOND
                shard.add((place.run_id, Event(instant, f"e{instant}", "phase_start", fields)))
                shard.add((place.run_id, Event(instant + 90 * SECOND, f"f{instant}", "phase_end", fields)))
        shard.add(frame(places, begin, begin + HOUR, hour))
        shard.add(Report("b", begin + HOUR))
        shard.flush()
    return shard


@pytest.mark.parametrize("marks", [False, True], ids=["", "with 36 phases an hour"])
def test_day_of_an_active_run_is_at_most_64_kb_of_state(marks):
    shard = day_of(5, marks=marks)

    assert len(pickle.dumps(shard.dump(), pickle.HIGHEST_PROTOCOL)) <= 5 * 64_000


def test_finished_run_of_an_hour_is_at_most_2_kb_of_state():
    shard = day_of(50, marks=False, hours=1)
    shard.add(frame([Place("clock", "clock", "DE-LU")], MIDNIGHT + 3 * HOUR, MIDNIGHT + 3 * HOUR + W5M))
    for number in range(50):
        shard.add((f"run-{number}", Event(MIDNIGHT + HOUR, "stop", "stop", {"status": "succeeded"})))
    shard.add(Report("b", MIDNIGHT + 3 * HOUR))
    for _ in range(16):
        shard.flush()

    assert len(pickle.dumps(shard.dump(), pickle.HIGHEST_PROTOCOL)) <= 50 * 2_000 + 10_000


def test_revision_of_an_hour_for_many_runs_comes_in_bounded_portions():
    shard = day_of(60, marks=False, hours=2)
    shard.add(*messages(prices=[costs(90.0, zone="DE-LU", revision=3)]))

    orders = []
    while not orders or shard.has_more:
        orders.append(shard.flush().orders)

    slots = [sum(len(order.settled) for order in portion) for portion in orders]
    assert sum(slots) == 60 * 12
    assert max(slots) == shards._ORDERS
    assert max(len(portion) for portion in orders) <= shards._ORDERS // 12 + 2  # many rows an order, one run each
