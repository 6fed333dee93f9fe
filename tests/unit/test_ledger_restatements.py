"""What table `restatement` says when another record begins to count for what was shown (semantics §3)."""

import pytest

from tests.oracle.records import MIDNIGHT, price, sample
from tests.unit.ledger_kit import Ledger
from tests.unit.ledger_stories import W1H, W5M

SECOND = 1_000_000
KWH = 3_600_000_000_000


def at(seconds, **fields):
    start = MIDNIGHT + seconds * SECOND
    return sample(**({"start": start, "end": start + SECOND, "energy_uj": [100], "seq": seconds} | fields))


def costs(intensity, **fields):
    hour = {"zone": "DE", "valid_from": MIDNIGHT, "valid_to": MIDNIGHT + W1H, "published_at": MIDNIGHT}
    return price(intensity_g_per_kwh=intensity, **(hour | fields))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, {}, "first"),
        ({"kind": "static"}, {"kind": "forecast"}, "live"),
        ({"kind": "static", "zone": "WORLD"}, {"kind": "static"}, "finer"),
        ({"zone": "DEU"}, {"kind": "forecast"}, "finer"),
        ({"kind": "forecast"}, {"kind": "estimated"}, "estimated"),
        ({"kind": "estimated"}, {"kind": "actual"}, "actual"),
        ({"revision": 1}, {"revision": 2}, "revision"),
        ({}, {"valid_to": MIDNIGHT + W5M}, "other"),
    ],
)
def test_reason_of_a_restatement(old, new, reason):
    ledger = Ledger(shards=1).price(*([] if old is None else [costs(124.0, **old)])).read(at(0)).flush()

    ledger.price(costs(104.0, **new)).flush()

    row = ledger.only("restatement")
    before = None if old is None else 100 / KWH * 124.0
    assert (row["reason"], row["applied"], row["zone"]) == (reason, True, "DE")
    assert (row["old_emissions_g"], row["new_emissions_g"]) == (before, 100 / KWH * 104.0)
    assert (row["valid_from"], row["valid_to"]) == (MIDNIGHT, MIDNIGHT + W5M)


def test_restatements_are_split_at_midnight_and_where_the_records_differ():
    around = {"valid_from": MIDNIGHT - W1H, "valid_to": MIDNIGHT + W1H}
    middle = costs(1.0, valid_from=MIDNIGHT + W5M, valid_to=MIDNIGHT + 2 * W5M, kind="forecast")
    ledger = Ledger(shards=1).price(middle).read(*(at(seconds) for seconds in range(-600, 900, 300))).flush()

    ledger.price(costs(9.0, **around)).flush()

    found = [(row["date"], (row["valid_from"] - MIDNIGHT) // W5M, row["reason"]) for row in ledger.table("restatement")]
    assert sorted(found) == [
        ("2025-03-01", -2, "first"),
        ("2025-03-02", 0, "first"),
        ("2025-03-02", 1, "actual"),
        ("2025-03-02", 2, "first"),
    ]


def test_price_that_was_there_before_the_energy_restates_nothing():
    assert Ledger().price(costs(1.0)).read(at(0)).flush().price(costs(1.0)).flush().table("restatement") == []


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_price_that_comes_too_late_is_listed_and_changes_nothing(restarted):
    ledger = Ledger(horizon_us=2 * W1H, shards=1).price(costs(124.0)).read(at(0)).flush()
    ledger.read(at(4 * 3_600, run_id="clock", collector_id="c2")).report(MIDNIGHT + 4 * W1H).flush()
    if restarted:
        ledger.restart()
    total = ledger.only("run_total", run_id="r1")

    ledger.price(costs(104.0, revision=5, valid_to=MIDNIGHT + 5 * W1H, kind="forecast")).flush()
    assert ledger.table("restatement", run_id="r1") == []  # it would not have counted
    ledger.price(costs(104.0, revision=5)).flush()

    row = ledger.only("restatement", run_id="r1")
    assert (row["applied"], row["old_emissions_g"], row["new_emissions_g"]) == (False, None, None)
    assert (row["old_g_per_kwh"], row["new_g_per_kwh"], row["reason"]) == (124.0, 104.0, "revision")
    assert ledger.only("run_total", run_id="r1") == total
