"""A price or a PUE that comes later re-prices every row that it touches, final or not, also after a restart (§3)."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, WINDOWS, Ledger
from tests.unit.ledger_stories import UNEXPLAINED, W1H, W5M, Story, events, prices, samples

SECOND = 1_000_000
PRICED = (*WINDOWS, "run_total", "phase_total", "zone_window_1h")
ONE_G_PER_UJ = 3.6e12


def at(seconds, **fields):
    start = MIDNIGHT + seconds * SECOND
    return sample(**({"start": start, "end": start + SECOND, "energy_uj": [100], "seq": seconds} | fields))


def phase(seconds, **fields):
    return event(event_id=f"p{seconds}", type="phase_start", phase="train", at=MIDNIGHT + seconds * SECOND, **fields)


def costs(intensity, **fields):
    """A price in the first five minutes; *intensity* in g/µJ, so that emissions are easily told."""
    return price(intensity_g_per_kwh=intensity * ONE_G_PER_UJ, **({"zone": "DE", "valid_from": MIDNIGHT} | fields))


def emissions(ledger, **where):
    """Of each table the emissions of its rows, in the order of their keys."""
    return [[row["emissions_g"] for row in ledger.table(table, **where)] for table in PRICED]


class Age(NamedTuple):
    """What has happened to the rows before the news come."""

    final: bool
    restarted: bool


AGES = [Age(final, restarted) for final in (False, True) for restarted in (False, True)]


def ledger_of(age, *messages):
    """Two samples of 100 µJ in the first 5 min and one behind, then hours of silence if the rows are to be final."""
    ledger = Ledger().event(phase(0))
    ledger.hear(*messages).read(at(0), at(100), at(400))
    if age.final:
        ledger.read(at(20_000, energy_uj=[0], zone="FR")).report(MIDNIGHT + 20_000 * SECOND)
    ledger.flush()
    assert [row["final"] for row in ledger.table("run_window_1h")][:1] == [age.final]
    return ledger.restart() if age.restarted else ledger


@pytest.fixture(params=AGES, ids=lambda age: f"{'final' if age.final else 'open'}{' restarted' * age.restarted}")
def age(request):
    return request.param


def test_price_that_comes_later_prices_all_rows_over_its_cells(age):
    ledger = ledger_of(age)

    ledger.price(costs(1.0)).flush()

    tail = [None] * age.final
    assert emissions(ledger) == [
        [100.0, 100.0, None, *tail],
        [200.0, None, *tail],
        [200.0, *tail],
        [200.0],
        [200.0],
        [200.0, *tail],
    ]
    assert [ledger.only(table)["unpriced_uj"] for table in ("run_total", "phase_total")] == [100, 100]


def test_better_price_replaces_the_one_before(age):
    ledger = ledger_of(age)
    ledger.price(costs(1.0, zone="WORLD", valid_to=MIDNIGHT + DAY, kind="static")).flush()
    if age.restarted:
        ledger.restart()

    ledger.price(costs(3.0)).flush()

    row = ledger.only("run_total")
    assert (row["emissions_g"], row["intensity_kind"], row["zone_level"]) == (700.0, "static", "world")
    assert [each["emissions_g"] for each in ledger.table("run_window_5m")][:2] == [600.0, 100.0]


def test_worse_price_writes_nothing(age):
    ledger = ledger_of(age)
    ledger.price(costs(1.0)).flush()

    ledger.price(costs(9.0, kind="estimated"))

    assert not any(ledger_shard.flush() for ledger_shard in ledger.shards)


def test_price_keeps_final_as_it_was(age):
    ledger = ledger_of(age)
    before = [[row["final"] for row in ledger.table(table)] for table in WINDOWS]

    ledger.price(costs(1.0)).flush()

    assert [[row["final"] for row in ledger.table(table)] for table in WINDOWS] == before


def test_pue_that_comes_later_is_that_of_the_whole_run(age):
    ledger = ledger_of(age).price(costs(1.0, valid_to=MIDNIGHT + DAY)).flush()
    if age.restarted:
        ledger.restart()

    ledger.event(phase(7, pue=2.0)).flush()

    assert [sum(filter(None, found)) for found in emissions(ledger)] == [600.0] * 6


def test_pue_that_is_corrected_downwards_takes_emissions_back(age):
    ledger = ledger_of(age).price(costs(1.0, valid_to=MIDNIGHT + DAY)).event(phase(7, pue=2.0)).flush()
    if age.restarted:
        ledger.restart()

    ledger.event(phase(8, pue=1.25)).flush()

    assert [sum(filter(None, found)) for found in emissions(ledger)] == [375.0] * 6


def test_wue_that_comes_later_is_that_of_the_whole_run(age):
    wet = costs(1.0, valid_to=MIDNIGHT + DAY, water_l_per_kwh=0.0)
    ledger = ledger_of(age).price(wet).flush()
    if age.restarted:
        ledger.restart()

    ledger.event(phase(7, wue_l_per_kwh=ONE_G_PER_UJ)).flush()

    assert [sum(row["water_l"] or 0 for row in ledger.table(table)) for table in PRICED] == [300.0] * 6


def test_price_of_one_zone_leaves_another_alone(age):
    ledger = ledger_of(age)
    ledger.read(at(101, zone="FR", host="h2", collector_id="c2", run_id="r2")).flush()

    ledger.price(costs(1.0, zone="FRA")).flush()

    assert ledger.only("run_total", run_id="r2")["emissions_g"] == 100.0
    assert ledger.only("run_total", run_id="r1")["emissions_g"] is None


def test_late_energy_gets_a_later_price_in_the_total():
    ledger = ledger_of(Age(final=True, restarted=False)).read(at(101)).flush().restart()

    ledger.price(costs(1.0)).flush()

    assert ledger.only("run_total")["emissions_g"] == 300.0
    assert [ledger.table(table)[0]["emissions_g"] for table in ("run_window_5m", "run_window_1h")] == [200.0] * 2


@settings(max_examples=15, phases=UNEXPLAINED)
@given(st.builds(Story, samples(most=5), prices(most=6), events()), st.data())
def test_news_afterwards_give_the_rows_of_news_before(story, data):
    late_prices = [each for each in story.prices if data.draw(st.booleans())]
    news = [each for each in story.events if not each["type"].startswith("phase")]
    late_events = [each for each in news if data.draw(st.booleans())]
    far = MIDNIGHT + 6 * W1H
    ending = [sample(seq=99, run_id=run, start=far, end=far + W5M) for run in ("r1", "r2")]

    def told(ledger):
        first = [each for each in story.prices if each not in late_prices]
        return ledger.price(*first).event(*(each for each in story.events if each not in late_events))

    def read(ledger):
        for number, end in enumerate(ending):
            ledger.read(end | {"collector_id": f"end{number}"}, partition="sample/end")
        return ledger.read(*story.samples).report(far).flush()

    before = read(told(Ledger()).price(*late_prices).event(*late_events)).end()
    after = read(told(Ledger())).restart().price(*late_prices).event(*late_events).flush().end()

    assert {**after.rows, "restatement": {}} == before.rows
