"""Prices and run events as they come from the log: what is rejected and what the ledger takes (semantics §3, §4)."""

import math

import pytest

from kappawatt.ledger.control import event, intensity_row, judge_event, judge_intensity
from kappawatt.ledger.control import price as price_of
from kappawatt.stores.tables import TABLES
from tests.oracle.records import MIDNIGHT, price
from tests.oracle.records import event as run_event

W5M = 300_000_000


@pytest.mark.parametrize(
    ("reason", "bad", "good"),
    [
        ("empty_id", {"zone": ""}, {"zone": "x"}),
        ("long_id", {"zone": "z" * 513}, {"zone": "z" * 512}),
        ("long_id", {"provider": "é" * 257}, {"provider": "é" * 256}),
        ("empty_interval", {"valid_to": MIDNIGHT}, {"valid_to": MIDNIGHT + W5M}),
        ("empty_interval", {"valid_to": MIDNIGHT - W5M}, {}),
        ("unaligned_period", {"valid_from": MIDNIGHT - 1}, {"valid_from": MIDNIGHT - W5M}),
        ("unaligned_period", {"valid_to": MIDNIGHT + W5M + 1_000_000}, {"valid_to": MIDNIGHT + 2 * W5M}),
        ("implausible_intensity", {"intensity_g_per_kwh": -1e-9}, {"intensity_g_per_kwh": 0.0}),
        ("implausible_intensity", {"intensity_g_per_kwh": math.nan}, {"intensity_g_per_kwh": 1e4}),
        ("implausible_intensity", {"intensity_g_per_kwh": math.inf}, {}),
        ("implausible_intensity", {"intensity_g_per_kwh": 10_000.1}, {"intensity_g_per_kwh": 10_000.0}),
        ("unknown_word", {"kind": "measured"}, {"kind": "static"}),
        ("unknown_word", {"signal": "mean"}, {"signal": "marginal"}),
    ],
)
def test_price_records_are_rejected_for_a_reason(reason, bad, good):
    assert judge_intensity(price(valid_from=MIDNIGHT) | bad) == reason
    assert judge_intensity(price(valid_from=MIDNIGHT) | good) is None


@pytest.mark.parametrize(
    ("reason", "bad", "good"),
    [
        ("empty_id", {"run_id": ""}, {"run_id": "x"}),
        ("empty_id", {"event_id": ""}, {"event_id": "x"}),
        ("long_id", {"run_id": "r" * 513}, {"run_id": "r" * 512}),
        ("long_id", {"event_id": "e" * 513}, {"event_id": "e" * 512}),
        ("long_id", {"phase": "p" * 513}, {"phase": "p" * 512}),
        ("reserved_run_id", {"run_id": "~h1"}, {"run_id": "h~1"}),
        ("unknown_word", {"type": "pause"}, {"type": "budget"}),
        ("bad_pue", {"pue": 0.999}, {"pue": 1.0}),
        ("bad_pue", {"pue": math.nan}, {"pue": 3.0}),
        ("bad_pue", {"pue": math.inf}, {}),
        ("bad_pue", {"pue": 100.1}, {"pue": 100.0}),
        ("bad_wue", {"wue_l_per_kwh": -0.1}, {"wue_l_per_kwh": 0.0}),
        ("bad_wue", {"wue_l_per_kwh": math.nan}, {"wue_l_per_kwh": 5.0}),
        ("bad_wue", {"wue_l_per_kwh": math.inf}, {}),
        ("bad_wue", {"wue_l_per_kwh": 1_000.1}, {"wue_l_per_kwh": 1_000.0}),
    ],
)
def test_run_events_are_rejected_for_a_reason(reason, bad, good):
    assert judge_event(run_event() | bad) == reason
    assert judge_event(run_event() | good) is None


@pytest.mark.parametrize(("ahead_us", "reason"), [(5 * 60_000_000, None), (5 * 60_000_000 + 1, "ahead_of_log")])
def test_event_of_the_future_is_rejected(ahead_us, reason):
    assert judge_event(run_event(at=MIDNIGHT + ahead_us), MIDNIGHT) == reason


@pytest.mark.parametrize(
    ("ahead_us", "reason"), [(60 * 24 * 12 * W5M, None), (60 * 24 * 12 * W5M + W5M, "ahead_of_log")]
)
def test_price_is_taken_sixty_days_ahead(ahead_us, reason):
    start = MIDNIGHT + ahead_us

    assert judge_intensity(price(valid_from=start, valid_to=start + W5M), MIDNIGHT) == reason


def test_event_of_a_writer_that_knows_no_phases_is_accepted():
    record = run_event()
    del record["phase"]

    assert judge_event(record) is None


def test_marginal_records_are_shown_and_price_nothing():
    record = price(signal="marginal")

    assert judge_intensity(record) is None
    assert price_of(record) is None
    assert dict(zip(TABLES["intensity"].columns, intensity_row(record), strict=True))["signal"] == "marginal"


def test_price_takes_the_fields_that_the_join_needs():
    found = price_of(price(price_per_kwh=0.25, currency="EUR", water_l_per_kwh=1.5))

    assert found is not None
    assert (found.zone, found.price_per_kwh, found.currency, found.water_l_per_kwh) == ("DE", 0.25, "EUR", 1.5)


@pytest.mark.parametrize("name", ["water_l_per_kwh", "price_per_kwh"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_factor_that_is_no_number_is_no_factor(name, value):
    found = price_of(price(currency="EUR") | {name: value})

    assert getattr(found, name) is None


def test_event_keeps_what_carries_something():
    run_id, found = event(run_event(type="stop", pue=1.2, rank=0, labels={"name": "n"}, metrics={}, user=""))

    assert (run_id, found.type, found.event_id, found.at) == ("r1", "stop", "e1", MIDNIGHT)
    assert found.values == {"pue": 1.2, "rank": 0, "labels": {"name": "n"}, "name": "n", "user": ""}
