"""A run of 100 GWh, beyond 64 bits of µJ: exact in the state, in CQL and on paper; SQLite says what to do."""

import json

import pytest

from dash_app import text as page_text
from kappawatt import text
from kappawatt.commands import base
from kappawatt.errors import StoreError
from kappawatt.stores import cql
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import TABLES
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.unit.ledger_kit import DAY, Ledger

HOUR = 3_600_000_000
MOST = 2**53 - 1
READINGS, HOURS = 1_000, 40
TOTAL = MOST * READINGS * HOURS


@pytest.fixture(scope="module")
def ledger():
    """Hours of the greatest readings that are accepted, read half before and half after a restart."""
    found = Ledger(shards=1, max_device_power_w=1 << 62)
    found.price(price(valid_from=MIDNIGHT, valid_to=MIDNIGHT + 3 * DAY, intensity_g_per_kwh=50.0))
    found.event(event(type="phase_start", phase="train", at=MIDNIGHT - 1))
    for hour in range(HOURS):
        if hour == HOURS // 2:
            found.flush().restart()
        found.read(sample(seq=hour, start=MIDNIGHT + hour * HOUR, energy_uj=[MOST] * READINGS))
    return found.end()


def total_row(ledger):
    row = ledger.only("run_total")
    return tuple(row[name] for name in TABLES["run_total"].columns)


def test_total_is_exact(ledger):
    row = ledger.only("run_total")

    assert TOTAL > 3.6e20
    assert (row["energy_uj"], row["gpu_uj"], row["unpriced_uj"]) == (TOTAL, TOTAL, 0)
    assert row["emissions_g"] == TOTAL / 3.6e12 * 50.0


def test_windows_and_phases_add_up_to_it(ledger):
    assert ledger.total("run_window_1h") == TOTAL
    assert sum(row["energy_uj"] for row in ledger.table("phase_total")) == TOTAL
    assert ledger.total("zone_window_1h") == TOTAL


def test_cassandra_takes_it_whole(ledger):
    names = list(TABLES["run_total"].columns)

    encoded = cql.encode(TABLES["run_total"], names, total_row(ledger))

    found = encoded[names.index("energy_uj")]
    assert found is not None
    assert int.from_bytes(found, "big", signed=True) == TOTAL


def keep(store, row):
    store.write("run_total", [row], 1)
    store.flush()


def test_sqlite_names_the_column_and_the_way_out(ledger, tmp_path):
    store = SqliteStore(tmp_path / "store.db")

    with pytest.raises(StoreError, match=r"run_total\.energy_uj of .*r1.* 2\.56 GWh.*Cassandra"):
        keep(store, total_row(ledger))
    store.close()


def test_answers_show_it(capsys):
    base.print_json([{"energy_uj": TOTAL}])
    (row,) = json.loads(capsys.readouterr().out)

    assert row["energy_uj"] == TOTAL
    assert text.kilowatt_hours(TOTAL) == f"{TOTAL / 3.6e12:,.0f}"
    assert page_text.energy(TOTAL) == ("100", "GWh")
