"""Which price record counts for a cell, and what a row costs (semantics §3)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.control import price as price_of
from kappawatt.ledger.priced import price_rows
from kappawatt.ledger.prices import UNPRICED, Change, Group, PriceBook, Priced, price_row, site_water
from tests.oracle.records import MIDNIGHT, price

W5M = 300_000_000
SLOT = MIDNIGHT // W5M
KWH = 3_600_000_000_000


def record(**fields):
    found = price_of(price(valid_from=MIDNIGHT, valid_to=MIDNIGHT + W5M) | fields)
    assert found is not None
    return found


def book_of(*records):
    book = PriceBook()
    for each in records:
        book.add(each)
    return book


def counting(book, zone="DE-LU", slot=SLOT):
    index = int(book.lookup([zone], np.array([0]), np.array([slot]))[0])
    return None if index == UNPRICED else book[index]


def longer(**fields):
    return {"valid_to": MIDNIGHT + 12 * W5M, **fields}


# Each pair: what loses, what wins in a cell of zone DE-LU, by one rule and against all those behind it.
RULES = {
    "any before static": (
        {"kind": "static", "zone": "DE-LU", "revision": 9},
        {"kind": "forecast", "zone": "WORLD", **longer()},
    ),
    "zone before country": ({"kind": "actual", "zone": "DEU"}, {"kind": "forecast", "zone": "DE-LU", **longer()}),
    "country before world": ({"kind": "actual", "zone": "WORLD"}, {"kind": "forecast", "zone": "DEU", **longer()}),
    "static by zone too": ({"kind": "static", "zone": "WORLD"}, {"kind": "static", "zone": "DEU", **longer()}),
    "actual before estimated": ({"kind": "estimated", "revision": 9}, longer(kind="actual")),
    "estimated before forecast": ({"kind": "forecast", "revision": 9}, longer(kind="estimated")),
    "shortest period": (longer(revision=9, published_at=9), {"revision": 0, "published_at": 0}),
    "greatest revision": ({"revision": 1, "published_at": 9}, {"revision": 2, "published_at": 0}),
    "latest published": ({"published_at": 1, "provider": "z"}, {"published_at": 2, "provider": "a"}),
    "greatest provider": ({"provider": "a", "dataset": "z"}, {"provider": "b", "dataset": "a"}),
    "greatest dataset": (
        {"dataset": "a", "intensity_g_per_kwh": 9.0},
        {"dataset": "b", "intensity_g_per_kwh": 1.0},
    ),
    "greatest value": ({"intensity_g_per_kwh": 1.0}, {"intensity_g_per_kwh": 9.0}),
}


@pytest.mark.parametrize("rule", RULES)
def test_value_that_counts(rule):
    worse, better = (record(**({"zone": "DE-LU"} | fields)) for fields in RULES[rule])

    assert counting(book_of(worse, better)) == better
    assert counting(book_of(better, worse)) == better


@pytest.mark.parametrize(
    ("zone", "priced"),
    [
        ("DE-LU", "DE-LU DEU WORLD"),
        ("DEU", "DEU WORLD"),
        ("XX-LAB", "XX-LAB WORLD"),
        ("WORLD", "WORLD"),
        ("", " WORLD"),
        ("DE", "DE DEU WORLD"),
        ("DE-", "DE- DEU WORLD"),
        ("de", "de WORLD"),
    ],
)
def test_zone_has_the_fallbacks_of_the_page(zone, priced):
    for place in ("DE-LU", "DE", "DE-", "de", "DEU", "XX-LAB", "WORLD", "FRA", ""):
        found = counting(book_of(record(zone=place)), zone)
        assert (found is not None) == (place in priced.split(" "))


@pytest.mark.parametrize(("slot", "priced"), [(SLOT - 1, False), (SLOT, True), (SLOT + 1, True), (SLOT + 2, False)])
def test_period_is_half_open(slot, priced):
    book = book_of(record(zone="WORLD", valid_to=MIDNIGHT + 2 * W5M))

    assert (counting(book, slot=slot) is not None) == priced


def test_better_record_tells_which_slots_in_use_it_changes():
    book = book_of(record(zone="WORLD", valid_to=MIDNIGHT + 9 * W5M))
    book.lookup(["FR", "DE-LU"], np.array([0, 1, 1]), np.array([SLOT, SLOT, SLOT + 1]))

    changes = book.add(record(zone="DEU"))

    assert changes == [Change(1, SLOT, 0, 1)]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({}, id="a repeat"),
        pytest.param({"kind": "forecast"}, id="a worse one"),
        pytest.param({"zone": "FRA"}, id="another zone"),
        pytest.param({"valid_from": MIDNIGHT + W5M, "valid_to": MIDNIGHT + 2 * W5M}, id="another time"),
    ],
)
def test_record_that_counts_nowhere_changes_nothing(second):
    book = book_of(record(zone="DEU"))
    counting(book)

    assert book.add(record(**({"zone": "DEU"} | second))) == []


def test_forgotten_slots_are_priced_no_more():
    book = book_of(record(zone="DEU"))
    counting(book)

    book.forget_before(SLOT + 1)

    assert book.add(record(zone="DEU", revision=9)) == []


def test_loaded_book_keeps_the_indices():
    book, again = book_of(record(revision=3), record(revision=1), record(revision=2)), PriceBook()

    again.load(book.dump())

    assert [again[index] for index in range(3)] == [book[index] for index in range(3)]
    assert repr(again) == "<PriceBook 3 records, 0 slots in use>"


def test_loaded_book_answers_no_more_for_what_is_forgotten():
    # A sample that comes too late for its price finds none, whether or not the flow was started again before.
    live = record(zone="DEU", **longer())
    book, again = book_of(record(zone="DEU"), live), PriceBook()
    book.forget_before(SLOT + 1)

    again.load(book.dump())

    assert counting(book, slot=SLOT) is counting(again, slot=SLOT) is None
    assert counting(again, slot=SLOT + 1) == counting(book, slot=SLOT + 1) == live


# --- what a row costs -------------------------------------------------------------------------------------------------

COAL = record(zone="DE", intensity_g_per_kwh=800.0, water_l_per_kwh=2.0, price_per_kwh=0.3, currency="EUR")
WIND = record(zone="DEU", kind="forecast", intensity_g_per_kwh=10.0)
DOLLAR = record(zone="WORLD", kind="static", intensity_g_per_kwh=500.0, price_per_kwh=0.1, currency="USD")
NAMELESS = record(zone="XX-1", kind="estimated", intensity_g_per_kwh=1.0, price_per_kwh=0.1)


@pytest.mark.parametrize(
    ("groups", "site", "row"),
    [
        pytest.param([], [], Priced(0, None, None, None, None, None, None, None), id="nothing"),
        pytest.param([Group(7, None, 1.5)], [1.0], Priced(7, *[None] * 7), id="no price: null, never 0"),
        pytest.param(
            [Group(KWH, COAL, 1.5)], [], Priced(0, 1200.0, 3.0, 1.5 * 0.3, "EUR", 800.0, "actual", "zone"), id="1 kWh"
        ),
        pytest.param(
            [Group(KWH, COAL, 1.0), Group(3 * KWH, WIND, 1.0), Group(5, None, 1.0)],
            [0.25],
            Priced(5, 830.0, 2.25, 0.3, "EUR", 207.5, "forecast", "country"),
            id="weakest kind, coarsest level, mean by energy",
        ),
        pytest.param(
            [Group(KWH, WIND, 2.0)],
            [9.0],
            Priced(0, 20.0, None, None, None, 10.0, "forecast", "country"),
            id="no water",
        ),
        pytest.param(
            [Group(KWH, COAL, 1.0), Group(KWH, DOLLAR, 1.0)],
            [],
            Priced(0, 1300.0, 2.0, None, "mixed", 650.0, "static", "world"),
            id="several currencies",
        ),
        pytest.param(
            [Group(KWH, NAMELESS, 1.0)],
            [],
            Priced(0, 1.0, None, None, None, 1.0, "estimated", "zone"),
            id="no currency",
        ),
        pytest.param(
            [Group(0, COAL, 1.5)],
            [],
            Priced(0, 0.0, 0.0, 0.0, "EUR", None, "actual", "zone"),
            id="zero energy is a use",
        ),
        pytest.param(
            [Group(KWH, COAL, 1.0), Group(0, DOLLAR, 1.0)],
            [],
            Priced(0, 800.0, 2.0, None, "mixed", 800.0, "static", "world"),
            id="zero energy of another currency too",
        ),
        pytest.param(
            [Group(KWH, COAL, 1.0), Group(KWH, COAL, 2.0)],
            [],
            Priced(0, 2400.0, 6.0, 0.3 + 0.6, "EUR", 800.0, "actual", "zone"),
            id="two PUEs of one price",
        ),
    ],
)
def test_row_is_what_the_page_says(groups, site, row):
    assert price_row(groups, site) == row


@pytest.mark.parametrize(
    ("water_ul", "energy", "wue", "terms"),
    [
        (0, KWH, None, []),
        (0, KWH, 1.8, [1.8]),
        (0, KWH, 0.0, [0.0]),
        (500_000, KWH, 1.8, [0.5]),
        (1, 0, None, [1e-6]),
        (-5, KWH, 0.2, [0.2]),
    ],
)
def test_measured_site_water_replaces_the_effectiveness(water_ul, energy, wue, terms):
    assert site_water(water_ul, energy, wue) == terms


RECORDS = [COAL, WIND, DOLLAR, NAMELESS, record(zone="FR", price_per_kwh=-0.02, currency="EUR", water_l_per_kwh=0.0)]
energy = st.integers(0, 2**53 - 1) | st.sampled_from((0, 1, KWH, 2**62))
pue = st.sampled_from((1.0, 1.1, 1.58))
site = st.none() | st.sampled_from((0.0, 0.1, 1e-6))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.dictionaries(st.integers(UNPRICED, 4), energy, min_size=1), pue, site), min_size=1, max_size=5
    )
)
def test_columns_of_rows_are_those_of_each_row_alone(rows):
    rows = [(groups if sum(groups.values()) < 2**63 else {UNPRICED: 1}, *rest) for groups, *rest in rows]
    flat = [(number, index, groups[index]) for number, (groups, *_) in enumerate(rows) for index in sorted(groups)]

    columns = price_rows(
        book_of(*RECORDS).columns(),
        len(rows),
        *(np.array(column, np.int64) for column in zip(*flat, strict=True)),
        np.array([pue for _, pue, _ in rows]),
        np.array([math.nan if litres is None else litres for *_, litres in rows]),
    )

    assert [Priced(*row) for row in zip(*columns, strict=True)] == [
        price_row(
            [Group(e, None if index == UNPRICED else RECORDS[index], pue) for index, e in groups.items()],
            [] if litres is None else [litres],
        )
        for groups, pue, litres in rows
    ]


@pytest.mark.parametrize("many", [1, 2])
def test_absurd_factors_give_an_infinite_row_instead_of_an_end(many):
    records = [record(zone=f"X{number}", intensity_g_per_kwh=1.7e308) for number in range(many)]

    row = price_row([Group(KWH, each, 1.0) for each in records], [])

    assert row.emissions_g == (1.7e308 if many == 1 else math.inf)
    assert row.intensity_g_per_kwh == math.inf
