"""Absurd but accepted records neither crash nor warn, and every row that they make fits into the store's columns."""

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.control import intensity_row, judge_event, judge_intensity
from kappawatt.stores import cql
from kappawatt.stores.tables import TABLES
from tests.oracle.model import Log
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.oracle.truth import expected_tables
from tests.unit.ledger_kit import Ledger

W5M = 300_000_000
LEAST, MOST = -(2**63), 2**63 - 1
YEAR_1, YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000

whole = st.sampled_from((LEAST, -1, 0, 1, 2**53 - 1, 2**53, MOST))
half = st.sampled_from((-(2**31), -1, 0, 1, 2, 3, 2**31 - 1))
double = st.sampled_from((0.0, -0.0, 1.0, 1.5, 5e-324, 1.7e308, -1.7e308, float("inf"), float("-inf"), float("nan")))
single = st.floats(width=32)
instant = st.sampled_from(
    (
        LEAST,
        LEAST // W5M * W5M + W5M,
        YEAR_1 - W5M,
        YEAR_1,
        0,
        MIDNIGHT,
        MIDNIGHT + 1,
        YEAR_10000 - W5M,
        YEAR_10000,
        MOST // W5M * W5M,
        MOST,
    )
)
text = st.sampled_from(("", "x", "é" * 256, "\0", "'; --", "𝄞"))
factor = st.none() | double


@st.composite
def samples(draw):
    count = draw(st.integers(1, 3))
    columns = {
        "kind": half, "method": half, "energy_uj": st.sampled_from((0, 1, 10**12)), "memory_bytes": whole,
        "utilization": single, "temperature_c": single,
    }  # fmt: skip
    arrays = {name: draw(st.lists(each, min_size=count, max_size=count)) for name, each in columns.items()}
    names = ("cpu_time_us", "disk_read_bytes", "disk_write_bytes", "network_rx_bytes", "network_tx_bytes", "water_ul")
    start = draw(st.sampled_from((0, MIDNIGHT, MIDNIGHT + W5M)))
    return sample(
        **arrays,
        **{name: draw(whole) for name in names},
        seq=draw(whole),
        device=[draw(text) for _ in range(count)],
        zone=draw(text | st.sampled_from(("DE", "WORLD"))),
        start=start,
        end=start + draw(st.sampled_from((10**6, 2_999_999_999))),
    )


events = st.builds(
    event,
    event_id=text,
    type=st.sampled_from(("start", "stop", "phase_start", "phase_end", "epoch")),
    at=instant,
    phase=text,
    epoch=st.none() | half,
    rank=st.none() | st.sampled_from((0, 1, -1)),
    metrics=st.dictionaries(st.sampled_from(("loss", "tokens", "")), double, max_size=2),
    labels=st.dictionaries(st.sampled_from(("name", "\0")), text, max_size=2),
    pue=factor,
    wue_l_per_kwh=factor,
    user=text,
    status=st.none() | text,
)
prices = st.builds(
    price,
    zone=st.sampled_from(("DE", "DEU", "WORLD")),
    valid_from=instant,
    valid_to=instant,
    intensity_g_per_kwh=double,
    kind=st.sampled_from(("actual", "static")),
    revision=half,
    published_at=whole,
    provider=text,
    water_l_per_kwh=factor,
    price_per_kwh=factor,
    currency=st.none() | text,
    renewable=factor,
)


def check_fit(table, rows):
    """Encoding for Cassandra raises StoreError where a value does not fit; it knows all columns of both stores."""
    for row in rows:
        cql.encode(TABLES[table], list(row), tuple(row.values()))


@settings(max_examples=60)
@given(st.lists(samples(), max_size=4), st.lists(events, max_size=4), st.lists(prices, max_size=4))
def test_rows_of_absurd_records_fit_into_the_store(sampled, told, priced):
    ledger = Ledger()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger.price(*(each for each in priced if judge_intensity(each) is None))
        ledger.event(*(each for each in told if judge_event(each) is None))
        ledger.read(*sampled).flush().restart().end()

    for table in TABLES:
        check_fit(table, ledger.table(table))
    for each in priced:
        if judge_intensity(each) is None:
            check_fit("intensity", [dict(zip(TABLES["intensity"].columns, intensity_row(each), strict=True))])
    row = ledger.buckets["b"].accounting("sample/p")
    check_fit("accounting", [dict(zip(TABLES["accounting"].columns, row, strict=True))])
    assert ledger.total("run_total", "samples") == row[2]


def plain(value):
    """NaN as a word, so that it is equal to itself."""
    return "NaN" if isinstance(value, float) and value != value else value


unknown = st.sampled_from((-(1 << 63), -1, 0, 7, (1 << 53) - 1, 1 << 53, (1 << 63) - 1))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(unknown, unknown, unknown, st.sampled_from((0.5, 999_999.0, 1e6, -2e6, float("nan")))), max_size=4
    ),
    st.sampled_from((None, 1.7, float("inf"), float("nan"), 1.7e308)),
)
def test_numbers_that_cannot_be_meant_are_unknown_to_the_oracle_too(found, factor):
    samples = [
        sample(seq=number, water_ul=water, cpu_time_us=cpu, memory_bytes=[memory], kind=[3], utilization=[busy])
        for number, (water, cpu, memory, busy) in enumerate(found)
    ]
    prices = [price(water_l_per_kwh=factor)]

    ledger = Ledger().price(*prices).read(*samples).end()

    expected = expected_tables(Log(samples={"p": samples}, intensity=prices))
    for table in ("run_total", "run_window_1h", "device_window_5m"):
        assert ledger.rows[table].keys() == expected[table].keys()
        for key, row in ledger.rows[table].items():
            assert {name: plain(value) for name, value in row.items()} == {
                name: plain(expected[table][key][name]) for name in row
            }
