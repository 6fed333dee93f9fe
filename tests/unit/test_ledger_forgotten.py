"""Runs that the horizon has passed are forgotten: their rows stay, their codes are used again (semantics §4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.ledger.control import event as told
from kappawatt.ledger.forgotten import Forgotten, is_of_host, name_for
from kappawatt.stream.intern import Register
from kappawatt.wire.records import DeadLetter
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, WINDOWS, Ledger
from tests.unit.ledger_stories import W1H, W5M

SECOND = 1_000_000
HORIZON = 2 * W1H


def at(after_us, **fields):
    start = MIDNIGHT + after_us
    return sample(**({"start": start, "end": start + SECOND, "seq": after_us // SECOND, "energy_uj": [100]} | fields))


def go(ledger, hours):
    """The clock's host comes so far, in hours of event time, one after the other."""
    for hour in hours:
        end = hour * W1H
        ledger.read(at(end, host="clock", run_id="clock", collector_id="clock"), partition="sample/clock")
        ledger.report(MIDNIGHT + end + SECOND).flush()
    return ledger


def forgetful(*records, events=(), prices=()):
    """A ledger that has forgotten the runs of the records."""
    ledger = Ledger(horizon_us=HORIZON, shards=1).price(*prices).event(*events).read(*records).flush()
    return go(ledger, range(3, 6))


def runs_of(ledger):
    return sorted(name for name in ledger.shards[0]._runs.names if name)


def test_run_is_forgotten_when_the_horizon_has_passed_it():
    ledger = forgetful(at(0))

    assert runs_of(ledger) == ["clock"]


def test_rebuild_forgets_no_run():
    ledger = Ledger(horizon_us=HORIZON, shards=1, rebuilding=True).read(at(0)).flush()

    go(ledger, range(3, 6)).read(at(5 * W1H)).flush()

    assert ledger.only("run_total", run_id="r1")["energy_uj"] == 200


def test_rows_of_a_forgotten_run_stay():
    ledger = forgetful(at(0), events=[event(type="start", user="ann")])

    assert ledger.only("run", run_id="r1")["user"] == "ann"
    assert [ledger.total(table, run_id="r1") for table in (*WINDOWS, "run_total")] == [100] * 4
    assert [row["final"] for row in ledger.table("run_window_1h", run_id="r1")] == [True]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_what_comes_later_is_a_run_of_its_own(restarted):
    ledger = forgetful(at(0))
    if restarted:
        ledger.restart()

    ledger.read(at(5 * W1H)).event(event(event_id="e9", at=MIDNIGHT + 5 * W1H, type="start", user="bob")).flush()

    assert [(row["run_id"], row["energy_uj"]) for row in ledger.table("run_total")][1:] == [("r1", 100), ("~/r1", 100)]
    assert ledger.only("run", run_id="~/r1")["user"] == "bob"
    assert ledger.only("run", run_id="r1")["user"] is None
    assert {row["run_id"] for row in ledger.table("runs_by_date")} == {"clock", "r1", "~/r1"}


def test_it_goes_on_under_that_name():
    ledger = forgetful(at(0)).read(at(5 * W1H)).flush()

    ledger.read(at(5 * W1H + SECOND)).flush()

    assert ledger.only("run_total", run_id="~/r1")["energy_uj"] == 200


def test_straggler_of_a_forgotten_run_is_counted_and_listed_beside_it():
    ledger = forgetful(at(0))

    ledger.read(at(10 * SECOND), partition="sample/h2").flush()

    assert ledger.only("run_total", run_id="r1")["energy_uj"] == 100
    assert ledger.only("run_total", run_id="~/r1")["energy_uj"] == 100
    assert [(row["run_id"], row["late_5s_uj"], row["late_1h_uj"]) for row in ledger.table("late")] == [
        ("~/r1", 100, 100)
    ]
    assert ledger.total("run_total") == 5 * 100


def test_old_event_of_a_forgotten_run_is_rejected():
    ledger = forgetful(at(0), events=[event(type="start", user="ann")])
    record = event(event_id="e9", at=MIDNIGHT + SECOND, type="stop")

    letter = DeadLetter(
        source="run_event/p", position="7", verdict="rejected", reason="expired", schema_id=None, payload=b""
    )
    run_id, found = told(record)
    ledger.hear((run_id, found._replace(letter=letter))).flush()

    assert ledger.reasons == ["expired"]
    assert ledger.only("run", run_id="r1")["user"] == "ann"
    assert ledger.table("run", run_id="~/r1") == []


def test_old_event_of_a_run_that_was_never_known_is_taken():
    ledger = forgetful(at(0)).event(event(run_id="r7", at=MIDNIGHT, type="start", user="eve")).flush()

    assert ledger.only("run", run_id="r7")["user"] == "eve"


def test_run_that_is_being_read_is_kept_an_hour_longer():
    ledger = forgetful(at(0)).read(at(0, run_id="r7", host="h7", collector_id="c7"), partition="sample/h7").flush()

    go(ledger, [6]).read(at(SECOND, run_id="r7", host="h7", collector_id="c7"), partition="sample/h7").flush()
    assert ledger.only("run_total", run_id="r7")["energy_uj"] == 200

    go(ledger, [7, 8])
    assert runs_of(ledger) == ["clock"]


def test_one_heartbeat_in_the_horizon_keeps_a_run():
    ledger = forgetful(at(0), events=[event(at=MIDNIGHT + 4 * W1H)])

    ledger.read(at(5 * W1H)).flush()

    assert ledger.only("run_total", run_id="r1")["energy_uj"] == 200


def test_ids_of_events_beyond_the_horizon_are_forgotten():
    ledger = Ledger(horizon_us=2 * DAY, shards=1)
    for day in range(8):
        at_us = MIDNIGHT + day * DAY
        ledger.event(event(event_id=f"e{day}", at=at_us, type="epoch", epoch=day)).read(at(day * DAY))
        ledger.report(at_us + SECOND).flush()

    ids = ledger.shards[0]._state[0].event_ids
    assert [len(of_day) for of_day in ids.values()] == [1, 1, 1]
    assert len(ledger.table("run_metric")) == 8


def sizes(shard):
    known = shard._known
    books = shard._prices
    return {
        "codes": (len(known.runs), len(known.zones), len(known.pairs), len(shard._devices._devices)),
        "rows": (len(shard._cells.fine), len(shard._cells.slots), len(shard._usage._hosts), len(shard._devices._table)),
        "left": (len(shard._frozen._table), len(shard._phases._table), shard._phases._codes.used, len(shard._orders)),
        "prices": (len(books._seen), len(books._table.records), len(books._zones), len(books._asked)),
        "names": len(known._codes),
    }


def hour_of_work(ledger, hour):
    """A run, a host, a zone, a device and a price that nobody has seen before."""
    zone = f"ZONE-{hour}"
    start = MIDNIGHT + hour * W1H
    ledger.price(price(zone=zone, valid_from=start, valid_to=start + W1H, intensity_g_per_kwh=float(hour + 1)))
    names = {"run_id": f"r{hour}", "host": f"h{hour}", "collector_id": f"c{hour}", "zone": zone}
    ledger.event(event(run_id=f"r{hour}", event_id=f"s{hour}", type="start", at=start))
    ledger.read(at(hour * W1H, device=[f"gpu:{hour}"], **names), partition=f"sample/h{hour}")
    ledger.event(event(run_id=f"r{hour}", event_id=f"e{hour}", type="stop", at=start + 2 * SECOND))
    go(ledger, [hour])


def test_nothing_grows_with_what_is_over():
    ledger = Ledger(horizon_us=HORIZON, shards=1)

    found = []
    for hour in range(30):
        hour_of_work(ledger, hour)
        found.append((sizes(ledger.shards[0]), len(repr(ledger.shards[0].dump()))))

    assert found[29][0] == found[12][0] == found[20][0]
    assert found[29][1] < 1.2 * found[12][1]
    assert ledger.total("run_total") == 2 * 30 * 100
    assert [row["emissions_g"] for row in ledger.table("run_total", run_id="r9")] == [10.0 * 100 / 3.6e12]


def test_codes_that_are_used_again_bring_nothing_of_the_old_names():
    ledger = forgetful(at(0, zone="DE", device=["gpu:0"]), prices=[price(zone="DE", valid_to=MIDNIGHT + DAY)])
    other = {"run_id": "r2", "host": "h2", "collector_id": "c2", "zone": "FR", "device": ["cpu:0"], "kind": [1]}

    ledger.event(event(run_id="r2", event_id="p", pue=1.5)).read(at(5 * W1H, **other), partition="sample/h2").flush()

    total = ledger.only("run_total", run_id="r2")
    assert (total["energy_uj"], total["gpus"], total["hosts"], total["emissions_g"]) == (100, 0, 1, None)
    assert total["unpriced_uj"] == 100
    assert ledger.only("run_window_5s", run_id="r2")["coverage"] == 1.0


def test_price_that_a_forgotten_window_rests_on_stays_while_its_run_does():
    rates = [
        price(zone="DE", valid_from=MIDNIGHT + hour * W1H, valid_to=MIDNIGHT + (hour + 1) * W1H, intensity_g_per_kwh=g)
        for hour, g in ((0, 3.6e12), (1, 7.2e12))
    ]
    ledger = Ledger(horizon_us=HORIZON, shards=1).price(*rates).read(at(0), at(W1H)).flush()

    for hour in range(3, 8):
        go(ledger.event(event(event_id=f"e{hour}", at=MIDNIGHT + hour * W1H)), [hour])
    ledger.restart().event(event(event_id="last", at=MIDNIGHT + 7 * W1H, pue=2.0)).flush()

    assert ledger.only("run_total", run_id="r1")["emissions_g"] == 2 * (100.0 + 200.0)
    assert repr(ledger.shards[0]._prices).startswith("<PriceBook 2 records")


def test_price_of_the_past_is_not_kept():
    ledger = forgetful(at(0)).price(price(zone="DE", valid_to=MIDNIGHT + W5M)).flush()

    assert repr(ledger.shards[0]._prices).startswith("<PriceBook 0 records")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=30))
def test_register_uses_the_lowest_free_code(steps):
    register, model = Register(""), {}
    for name, keep in steps:
        if keep:
            code = register.code(name)
            free = min(set(range(len(model) + 1)) - set(model.values()))
            assert code == model.setdefault(name, free)
        elif name in model:
            register.release(model.pop(name))
    again = Register("")
    again.load(register.names)

    assert {name: again.code(name) for name in model} == model
    assert (register.used, sorted(register.codes())) == (len(model), sorted(model.values()))


def test_names_are_remembered_up_to_a_number():
    forgotten = Forgotten(most=3)
    forgotten.add(["a", "b"])
    forgotten.add(["c", "d", "b"])
    again = Forgotten(most=3)
    again.load(forgotten.dump())

    assert [name in again for name in "abcd"] == [False, True, True, True]
    assert len(forgotten.dump()) == 3 * 8


def test_name_of_a_run_that_was_forgotten_twice():
    forgotten = Forgotten()
    forgotten.add(["r1", "~/r1"])

    assert name_for("r1", lambda _: False, forgotten) == "~/~/r1"
    assert name_for("r1", {"~/r1"}.__contains__, forgotten) == "~/r1"
    assert name_for("r2", lambda _: False, forgotten) == "r2"
    assert (is_of_host("~/r1"), is_of_host("~/~h1")) == (False, True)
