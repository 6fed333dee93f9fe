"""The comparison of a store with the oracle finds what differs, and says it so that a person can look."""

import pytest

from kappawatt.stores import open_store
from kappawatt.stores.tables import TABLES
from tests.flows.ledger_compare import differences
from tests.oracle.generate import small
from tests.oracle.model import KEYS, Log
from tests.oracle.records import price, sample
from tests.oracle.truth import expected_tables


def fill(store, tables):
    for name, rows in tables.items():
        columns = TABLES[name].columns
        store.write(name, [tuple(row.get(column) for column in columns) for row in rows.values()], 1)
    store.flush()


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def expected():
    return expected_tables(Log({"h1": [sample()]}, [price()]))


def test_oracle_gives_every_table_with_every_column():
    tables = expected_tables(small(1))

    assert tables.keys() == TABLES.keys()
    assert {name: KEYS[name] for name in tables} == {name: table.key for name, table in TABLES.items()}
    for name, rows in tables.items():
        columns = set(TABLES[name].columns) - {"position"}
        assert all(row.keys() == columns for row in rows.values()), name


def test_store_that_holds_the_expected_rows_has_no_differences(store):
    tables = expected_tables(small(1))

    fill(store, tables)

    assert differences(store, tables) == []


def test_changed_value_is_told_with_table_key_and_column(store, expected):
    fill(store, expected)

    expected["run_total"][("r1",)]["gpu_uj"] += 1

    assert differences(store, expected) == ["run_total run_id=r1 gpu_uj: expected 1000001, found 1000000"]


def test_null_is_not_zero(store, expected):
    fill(store, expected)

    expected["run_total"][("r1",)]["cost"] = 0.0

    assert differences(store, expected) == ["run_total run_id=r1 cost: expected 0.0, found None"]


def test_missing_and_extra_rows_are_told(store, expected):
    fill(store, expected)

    row = expected["run_total"].pop(("r1",))
    expected["run_total"][("r2",)] = row | {"run_id": "r2"}

    lines = differences(store, expected)
    assert len(lines) == 2
    assert lines[0].startswith("run_total run_id=r2: missing, expected {")
    assert lines[1].startswith("run_total run_id=r1: not expected, found {")


def test_only_the_first_differences_are_given(store):
    assert len(differences(store, expected_tables(small(1)))) == 20


def test_position_counts_only_where_it_is_expected(store, expected):
    fill(store, expected)
    assert differences(store, expected) == []

    expected["accounting"][("sample/h1",)]["position"] = "5"

    assert differences(store, expected) == ["accounting source_partition=sample/h1 position: expected '5', found None"]


def test_row_of_zeros_for_an_empty_partition_is_accepted(store, expected):
    fill(store, expected)
    zeros = {"sent": 0, "counted": 0, "duplicate": 0, "rejected": 0, "dead": 0, "lost": 0, "position": "0"}

    fill(store, {"accounting": {(): zeros | {"source_partition": "sample/9"}}})

    assert differences(store, expected) == []
