"""The oracle against cases worked out by hand: prices, phases and runs of docs/semantics.md."""

import math

import pytest

from tests.oracle.model import SECOND, Log, Parameters, Tables
from tests.oracle.prices import PriceBook
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.oracle.runs import Phases, by_run, event_fault
from tests.oracle.truth import expected_tables

DAY = 86_400 * SECOND
KWH = 3_600_000_000_000


def tables(samples=(), prices=(), events=()) -> Tables:
    return expected_tables(Log({"h1": list(samples)}, list(prices), list(events)))


def at(seconds: float) -> int:
    return MIDNIGHT + round(seconds * SECOND)


def only(table):
    assert len(table) == 1
    return next(iter(table.values()))


def by(table, column):
    return {key: row[column] for key, row in table.items()}


# --- prices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "country"),
    [
        ("DEU", "DEU"),
        ("XYZ", "XYZ"),
        ("DE", "DEU"),
        ("US-CAL-CISO", "USA"),
        ("XX-1", None),
        ("de", None),
        ("DEUX", None),
        ("WORLD", None),
        ("D", None),
    ],
)
def test_country_of_a_zone(zone, country):
    assert PriceBook([], Parameters()).country(zone) == country


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"kind": "static"}, {"kind": "forecast", "zone": "WORLD"}),
        ({"zone": "DEU"}, {"kind": "forecast"}),
        ({"zone": "WORLD", "kind": "static"}, {"zone": "DEU", "kind": "static"}),
        ({"kind": "estimated", "revision": 9}, {"kind": "actual"}),
        ({"kind": "forecast"}, {"kind": "estimated"}),
        ({"valid_to": at(600), "revision": 9}, {"valid_to": at(300)}),
        ({"revision": 1, "published_at": at(900)}, {"revision": 2}),
        ({"published_at": at(300), "provider": "z"}, {"published_at": at(301)}),
        ({"provider": "a", "dataset": "z"}, {"provider": "b"}),
        ({"dataset": "v1", "intensity_g_per_kwh": 900.0}, {"dataset": "v2"}),
        ({"intensity_g_per_kwh": 100.0}, {"intensity_g_per_kwh": 101.0}),
        ({"valid_from": at(300), "valid_to": at(600)}, {"kind": "static", "zone": "WORLD"}),
        ({"valid_from": at(-300), "valid_to": at(0)}, {"kind": "static", "zone": "WORLD"}),
        ({"signal": "marginal"}, {"kind": "static", "zone": "WORLD"}),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_price_that_counts(worse, better, swapped):
    records = [price(**worse), price(**better)]
    book = PriceBook(records[::-1] if swapped else records, Parameters())

    chosen = book.at("DE", at(295))

    assert chosen is not None
    assert book.records[chosen] == price(**better)


@pytest.mark.parametrize(
    "fields",
    [
        {"valid_to": MIDNIGHT},
        {"valid_to": at(301)},
        {"valid_from": at(-1)},
        {"intensity_g_per_kwh": -0.1},
        {"intensity_g_per_kwh": math.nan},
        {"intensity_g_per_kwh": math.inf},
        {"kind": "Actual"},
        {"signal": "total"},
        {"zone": ""},
    ],
)
def test_price_record_is_rejected(fields):
    rows = tables([sample()], [price(**fields)])

    assert rows["intensity"] == {}
    assert only(rows["run_total"])["unpriced_uj"] == 1_000_000


def test_row_is_priced_group_by_group():
    prices = [
        price(intensity_g_per_kwh=300.0, water_l_per_kwh=2.0, price_per_kwh=0.5, currency="EUR"),
        price(valid_from=at(300), intensity_g_per_kwh=100.0, kind="estimated", price_per_kwh=0.25, currency="EUR"),
    ]
    samples = [
        sample(seq=0, energy_uj=[KWH // 4], end=at(4)),
        sample(seq=1, start=at(300), end=at(304), energy_uj=[KWH // 4 * 3]),
        sample(seq=2, start=at(600), energy_uj=[5]),
    ]

    log = Log({"h1": samples}, prices, [event(pue=1.5)])
    row = only(expected_tables(log, Parameters(max_device_power_w=10**7))["run_total"])

    assert row["emissions_g"] == 0.25 * 1.5 * 300 + 0.75 * 1.5 * 100
    assert row["water_l"] == 0.25 * 1.5 * 2
    assert (row["cost"], row["currency"]) == (0.25 * 1.5 * 0.5 + 0.75 * 1.5 * 0.25, "EUR")
    assert row["intensity_g_per_kwh"] == 150.0
    assert (row["intensity_kind"], row["zone_level"], row["unpriced_uj"]) == ("estimated", "zone", 5)


def test_row_without_price_has_nulls_not_zeros():
    row = only(tables([sample()])["run_window_5m"])

    names = ["emissions_g", "water_l", "cost", "currency", "intensity_g_per_kwh", "intensity_kind", "zone_level"]
    assert [row[name] for name in names] == [None] * 7
    assert row["unpriced_uj"] == row["energy_uj"]


def test_group_without_energy_is_a_use_of_its_price():
    record = price(kind="static", zone="WORLD", price_per_kwh=1.0, currency="EUR")

    row = only(tables([sample(energy_uj=[0])], [record])["run_total"])

    assert (row["emissions_g"], row["cost"], row["currency"]) == (0.0, 0.0, "EUR")
    assert (row["intensity_g_per_kwh"], row["intensity_kind"], row["zone_level"]) == (None, "static", "world")


def test_several_currencies_are_mixed():
    prices = [
        price(price_per_kwh=1.0, currency="EUR"),
        price(zone="USA", price_per_kwh=1.0, currency="USD", kind="forecast"),
    ]

    rows = tables([sample(), sample(seq=1, zone="US-CAL-CISO")], prices)

    row = only(rows["run_total"])
    assert (row["cost"], row["currency"]) == (None, "mixed")
    assert (row["intensity_kind"], row["zone_level"]) == ("forecast", "country")
    assert by(rows["zone_window_1h"], "currency") == {
        ("DE", "2025-03-02", MIDNIGHT): "EUR",
        ("US-CAL-CISO", "2025-03-02", MIDNIGHT): "USD",
    }


@pytest.mark.parametrize(
    ("water_ul", "wue", "factor", "expected"),
    [
        (0, None, 2.0, 2.5),
        (0, 0.5, 2.0, 3.0),
        (7_000_000, 0.5, 2.0, 9.5),
        (7_000_000, 0.5, None, None),
        (0, 0.5, None, None),
    ],
)
def test_site_water_is_measured_or_by_wue(water_ul, wue, factor, expected):
    samples = [sample(end=at(5), energy_uj=[KWH // 2, KWH // 2], water_ul=water_ul)]
    log = Log({"h1": samples}, [price(water_l_per_kwh=factor)], [event(pue=1.25, wue_l_per_kwh=wue)])

    rows = expected_tables(log, Parameters(max_device_power_w=10**6))

    assert only(rows["run_total"])["water_l"] == expected
    assert only(rows["zone_window_1h"])["water_l"] == expected


def test_zone_row_sums_site_water_run_by_run():
    runs = {"a": (KWH // 4, 0), "b": (KWH // 4, 0), "c": (KWH // 4, 3_000_000), "d": (KWH // 4, 5_000_000)}
    samples = [
        sample(seq=number, run_id=run, end=at(4), energy_uj=[energy], water_ul=water)
        for number, (run, (energy, water)) in enumerate(runs.items())
    ]
    events = [event(run_id=run, wue_l_per_kwh=2.0, pue=2.0 if run == "a" else None) for run in runs]

    row = only(expected_tables(Log({"h1": samples}, [price(water_l_per_kwh=1.0)], events))["zone_window_1h"])

    assert row["water_l"] == (0.25 * 2 + 0.75) + 0.5 * 2 + 8
    assert (row["emissions_g"], row["runs"]) == (0.25 * 2 * 100 + 0.75 * 100, 4)


def test_intensity_table_keeps_the_greatest_of_one_key():
    prices = [price(published_at=at(300)), price(published_at=at(400), dataset="v0"), price(revision=1)]

    rows = tables(prices=prices)["intensity"]

    assert sorted((row["revision"], row["dataset"]) for row in rows.values()) == [(0, "v0"), (1, "v1")]
    assert ("DE", "2025-03-02", at(0), at(300), "average", "grid", "actual", 0) in rows


# --- phases -------------------------------------------------------------------------------------------------------


def phase(kind, seconds, name, number=0, **fields):
    return event(type=f"phase_{kind}", at=at(seconds), phase=name, event_id=f"e{number}", **fields)


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        ([phase("start", 2, "a"), phase("end", 4, "a", 1)], "-- aa ------"),
        ([phase("start", 2, "a"), phase("start", 3, "b", 1), phase("end", 5, "b", 2)], "--abbaaaaa"),
        ([phase("start", 2, "a"), phase("start", 5, "a", 1), phase("end", 6, "a", 2)], "--aaaa----"),
        ([phase("start", 2, "b", 1), phase("start", 2, "a", 2), phase("end", 4, "a", 3)], "--aabbbbbb"),
        ([phase("start", 1, "a"), phase("start", 2, "b", 1), phase("end", 4, "a", 2)], "-abbbbbbbb"),
        ([phase("end", 4, "a")], "----------"),
        ([phase("start", 2, "a"), phase("start", 3, "b", 1, rank=1)], "--aaaaaaaa"),
        ([phase("start", 2, "a", rank=0), event(type="stop", at=at(3), event_id="s")], "--aaaaaaaa"),
    ],
)
def test_phase_that_holds_at_each_second(events, parts):
    phases = Phases(by_run(events)["r1"])

    held = "".join(phases.holder(at(second))[0] for second in range(10))

    assert held.replace("u", "-") == parts.replace(" ", "")[:10]


def test_phase_takes_the_floor_share_of_a_cell_that_it_covers_in_part():
    samples = [sample(start=at(1), end=at(5), energy_uj=[10, 3], method=[1, 4], kind=[2, 1], water_ul=4)]
    events = [phase("start", 3, "train"), phase("end", 4, "train", 1)]

    rows = tables(samples, events=events)["phase_total"]

    # the cell is [0 s, 5 s): of 10, ⌊10·4/5⌋ − ⌊10·3/5⌋ = 2; of 3, 2 − 1 = 1
    train, rest = rows[("r1", "train")], rows[("r1", "unphased")]
    assert (train["gpu_uj"], train["cpu_uj"], train["estimated_uj"], train["duration_us"]) == (2, 1, 1, SECOND)
    assert (rest["gpu_uj"], rest["cpu_uj"], rest["estimated_uj"], rest["duration_us"]) == (8, 2, 2, 3 * SECOND)
    assert train["unpriced_uj"] == 3


def test_run_without_phase_events_has_no_phase_rows():
    assert tables([sample()], events=[event(type="start"), phase("start", 0, "a", 2, rank=3)])["phase_total"] == {}


# --- runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run_id": ""}, "empty_id"),
        ({"event_id": ""}, "empty_id"),
        ({"run_id": "~h1", "type": "x"}, "reserved_run_id"),
        ({"type": "Start"}, "unknown_word"),
        ({"pue": 0.99}, "bad_pue"),
        ({"pue": math.nan}, "bad_pue"),
        ({"pue": math.inf}, "bad_pue"),
        ({"pue": 1.0}, ""),
        ({"wue_l_per_kwh": -1.0}, "bad_wue"),
        ({"wue_l_per_kwh": 0.0}, ""),
    ],
)
def test_run_event_is_rejected_for_the_first_reason(fields, reason):
    assert event_fault(event(**fields)) == reason


def test_run_takes_each_field_from_the_greatest_event_that_carries_one():
    events = [
        event(event_id="b", at=at(5), user="bob", pue=1.2, labels={"name": "late", "z": "1"}),
        event(event_id="a", at=at(5), user="ann", team="t", pue=1.9),
        event(event_id="c", at=at(9), zone="DEU", wue_l_per_kwh=0.3),
        event(event_id="c", at=at(99), zone="FRA"),
    ]

    row = only(tables(events=events)["run"])

    assert (row["user"], row["team"], row["zone"], row["name"]) == ("bob", "t", "DEU", "late")
    assert (row["pue"], row["wue_l_per_kwh"]) == (1.2, 0.3)
    assert (row["labels"], row["hardware"]) == ('{"name":"late","z":"1"}', None)
    assert (row["first_seen"], row["last_seen"]) == (at(5), at(9))


@pytest.mark.parametrize(
    ("turns", "status", "ended_at"),
    [
        ([], "running", None),
        ([("start", 1, None)], "running", None),
        ([("start", 1, None), ("stop", 2, None)], "succeeded", at(2)),
        ([("start", 1, None), ("stop", 2, "failed")], "failed", at(2)),
        ([("stop", 2, "failed"), ("start", 3, None)], "running", None),
    ],
)
def test_status_of_a_run(turns, status, ended_at):
    events = [event(event_id="h", at=at(50))]
    events += [event(type=kind, at=at(when), status=word, event_id=kind) for kind, when, word in turns]

    row = only(tables(events=events)["run"])

    assert (row["status"], row["ended_at"]) == (status, ended_at)


def test_runs_by_date_goes_by_the_start_event_or_else_what_was_seen_first():
    events = [event(run_id="x", type="start", at=at(-1)), event(run_id="y", at=at(7))]

    rows = tables([sample(run_id="y", start=at(3)), sample(run_id="x", start=at(-9), seq=1)], events=events)

    assert sorted(rows["runs_by_date"]) == [("2025-03-01", at(-1), "x"), ("2025-03-02", at(3), "y")]


def test_run_metrics_are_events_with_metrics_or_epochs():
    events = [
        event(event_id="a", metrics={"loss": 0.5, "tokens": 9.0}),
        event(event_id="b", type="epoch", epoch=3),
        event(event_id="c"),
    ]

    rows = tables(events=events)["run_metric"]

    assert {key[3]: (row["type"], row["epoch"], row["loss"], row["tokens"]) for key, row in rows.items()} == {
        "a": ("heartbeat", None, 0.5, 9.0),
        "b": ("epoch", 3, None, None),
    }
