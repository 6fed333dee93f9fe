"""What every store promises, whichever it is."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kappawatt.errors import StoreError
from kappawatt.stores import FENCE_STEP, Store
from kappawatt.stores.tables import TABLES

MakeRow = Callable[..., dict[str, Any]]
OpenOne = Callable[[], Store]


def put(store: Store, table: str, *rows: dict[str, Any], version: int) -> None:
    store.write(table, [tuple(row.values()) for row in rows], version)
    store.flush()


def partition(table: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in TABLES[table].partition}


def key(table: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in TABLES[table].key)


def only(store: Store, table: str, row: dict[str, Any]) -> dict[str, Any]:
    (found,) = store.read(table, partition(table, row))
    return found


@pytest.mark.parametrize("table", TABLES)
def test_row_comes_back_as_written(store: Store, make_row: MakeRow, table: str):
    row = make_row(table)

    put(store, table, row, version=7)

    found = only(store, table, row)
    assert found == row | {"version": 7}
    assert [type(value) for value in found.values()] == [*map(type, row.values()), int]


@pytest.mark.parametrize("table", TABLES)
def test_row_of_nulls_comes_back_as_nulls(store: Store, make_row: MakeRow, table: str):
    nulls = {name: None for name in TABLES[table].columns if name not in TABLES[table].key}
    row = make_row(table, **nulls)

    put(store, table, row, version=7)

    assert only(store, table, row) == row | {"version": 7}


@pytest.mark.parametrize("kept", [(1, 2), (2, 1)], ids=["newer last", "newer first"])
def test_newer_version_wins_whatever_the_order(store: Store, make_row: MakeRow, kept: tuple[int, int]):
    row = make_row("run_total")
    versions = {1: row | {"energy_uj": 1000}, 2: row | {"energy_uj": 10}}

    for version in kept:
        put(store, "run_total", versions[version], version=version)

    assert only(store, "run_total", row) == versions[2] | {"version": 2}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)], ids=["newer last", "newer first"])
def test_row_is_replaced_as_a_whole_by_one_with_nulls(store: Store, make_row: MakeRow, order: tuple[int, int]):
    full = make_row("run_window_5s")
    sparse = full | {"emissions_g": None, "currency": None, "energy_uj": 0}
    versions = {1: full, 2: sparse}

    for version in order:
        put(store, "run_window_5s", versions[version], version=version)

    assert only(store, "run_window_5s", full) == sparse | {"version": 2}


def test_row_with_nulls_is_replaced_by_the_very_next_version(store: Store, make_row: MakeRow):
    row = make_row("run_window_5s")
    put(store, "run_window_5s", row | {"cost": None}, version=4)

    put(store, "run_window_5s", row, version=5)

    assert only(store, "run_window_5s", row) == row | {"version": 5}


def test_versions_of_several_flushes_in_one_stay_in_order(store: Store, make_row: MakeRow):
    row = make_row("run_total")
    for version in range(1, 40):
        store.write("run_total", [tuple((row | {"samples": -version}).values())], version)

    store.flush()

    assert only(store, "run_total", row)["samples"] == -39


def test_same_write_again_changes_nothing(store: Store, make_row: MakeRow):
    row = make_row("run_window_1h", water_l=None)

    put(store, "run_window_1h", row, version=3)
    put(store, "run_window_1h", row, version=3)

    assert only(store, "run_window_1h", row) == row | {"version": 3}


def test_deleted_row_is_gone_and_others_stay(store: Store, make_row: MakeRow):
    gone, stays = make_row("runs_by_date"), make_row("runs_by_date")
    stays["date"] = gone["date"]
    put(store, "runs_by_date", gone, stays, version=3)

    store.delete("runs_by_date", [key("runs_by_date", gone)], 4)
    store.flush()

    assert only(store, "runs_by_date", stays) == stays | {"version": 3}


def test_deletion_spares_a_newer_row(store: Store, make_row: MakeRow):
    row = make_row("runs_by_date")
    put(store, "runs_by_date", row, version=5)

    store.delete("runs_by_date", [key("runs_by_date", row)], 4)
    store.flush()

    assert only(store, "runs_by_date", row) == row | {"version": 5}


@pytest.mark.parametrize(("version", "rows"), [(3, 0), (4, 0), (5, 1)], ids=["older", "equal", "newer"])
def test_deleted_row_comes_back_by_a_newer_version_only(store: Store, make_row: MakeRow, version: int, rows: int):
    row = make_row("runs_by_date")
    store.delete("runs_by_date", [key("runs_by_date", row)], 4)
    store.flush()

    put(store, "runs_by_date", row, version=version)

    assert len(store.read("runs_by_date", partition("runs_by_date", row))) == rows


def windows(make_row: MakeRow, count: int) -> list[dict[str, Any]]:
    first = make_row("run_window_5s")
    same = partition("run_window_5s", first)
    return [make_row("run_window_5s", **same, window_start=index * 5_000_000) for index in range(count)]


def starts(rows: list[dict[str, Any]]) -> list[int]:
    return [row["window_start"] // 5_000_000 for row in rows]


def test_partition_is_read_in_clustering_order(store: Store, make_row: MakeRow):
    rows = windows(make_row, 100)
    put(store, "run_window_5s", *reversed(rows), version=1)

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]))

    assert found == [row | {"version": 1} for row in rows]


def test_limit_gives_the_first_rows(store: Store, make_row: MakeRow):
    rows = windows(make_row, 9)
    put(store, "run_window_5s", *rows, version=1)

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]), limit=3)

    assert starts(found) == [0, 1, 2]


def test_newest_first_gives_the_last_rows(store: Store, make_row: MakeRow):
    rows = windows(make_row, 9)
    put(store, "run_window_5s", *rows, version=1)

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]), newest_first=True, limit=3)

    assert starts(found) == [8, 7, 6]


def test_since_gives_the_rows_from_there_on(store: Store, make_row: MakeRow):
    rows = windows(make_row, 9)
    put(store, "run_window_5s", *rows, version=1)

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]), since=6 * 5_000_000)

    assert starts(found) == [6, 7, 8]


def test_until_gives_the_rows_up_to_there(store: Store, make_row: MakeRow):
    rows = windows(make_row, 9)
    put(store, "run_window_5s", *rows, version=1)

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]), until=6 * 5_000_000)

    assert starts(found) == [0, 1, 2, 3, 4, 5, 6]


def test_since_and_until_give_the_rows_between_them(store: Store, make_row: MakeRow):
    rows = windows(make_row, 9)
    put(store, "run_window_5s", *rows, version=1)
    bounds = {"since": 3 * 5_000_000, "until": 5 * 5_000_000}

    found = store.read("run_window_5s", partition("run_window_5s", rows[0]), newest_first=True, limit=2, **bounds)

    assert starts(found) == [5, 4]


def test_unknown_partition_has_no_rows(store: Store, make_row: MakeRow):
    assert store.read("run", partition("run", make_row("run"))) == []


def test_part_of_a_partition_key_is_refused(store: Store):
    with pytest.raises(ValueError, match=r"run_window_5s is read by \(run_id, date\), not by \(run_id\)"):
        store.read("run_window_5s", {"run_id": "r"})


def test_scan_gives_every_row(store: Store, make_row: MakeRow):
    rows = [make_row("accounting") for _ in range(30)]
    put(store, "accounting", *rows, version=2)

    found = {row["source_partition"]: row for row in store.scan("accounting")}

    assert {row["source_partition"]: row | {"version": 2} for row in rows}.items() <= found.items()


def test_many_rows_of_many_runs_all_arrive(store: Store, make_row: MakeRow):
    rows = [row for _ in range(40) for row in windows(make_row, 60)]
    rows = [row | {"cost": None} if index % 3 else row for index, row in enumerate(rows)]

    put(store, "run_window_5s", *rows, version=1)

    for run in range(0, len(rows), 60):
        found = store.read("run_window_5s", partition("run_window_5s", rows[run]))
        assert found == [row | {"version": 1} for row in rows[run : run + 60]]


def test_text_is_kept_to_the_last_sign(store: Store, make_row: MakeRow):
    row = make_row("run", name="=cmd|' /C calc'!A0 \x00 \u202e 🜁 ; DROP TABLE run; --", labels="")

    put(store, "run", row, version=1)

    assert only(store, "run", row) == row | {"version": 1}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("run_window_5s", "energy_uj", 1 << 63),
        ("run_window_5s", "energy_uj", "many"),
        ("run_window_5s", "emissions_g", "many"),
        ("run", "name", "\ud800"),
    ],
    ids=["too large", "text for a number", "text for a double", "half a surrogate"],
)
def test_value_that_does_not_fit_is_an_error_that_names_its_column(
    store: Store, make_row: MakeRow, table: str, column: str, value: Any
):
    row = make_row(table, **{column: value})

    with pytest.raises(StoreError, match=f"{table}.{column}"):
        put(store, table, row, version=1)


def test_row_without_a_key_is_an_error_that_names_its_table(store: Store, make_row: MakeRow):
    with pytest.raises(StoreError, match="run_window_5s"):
        put(store, "run_window_5s", make_row("run_window_5s", window_start=None), version=1)


def test_fence_follows_the_clock_and_never_goes_back(store: Store):
    first = store.raise_fence(0)

    assert store.raise_fence(first + 10 * FENCE_STEP) == first + 10 * FENCE_STEP
    assert store.raise_fence(0) == first + 11 * FENCE_STEP


def test_fences_raised_at_once_are_all_different(open_one: OpenOne):
    fences: list[int] = []
    stores = [open_one() for _ in range(4)]

    def raise_some(store: Store) -> None:
        fences.extend(store.raise_fence(0) for _ in range(5))

    threads = [threading.Thread(target=raise_some, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ordered = sorted(fences)
    assert len(fences) == 20
    assert all(later - earlier >= FENCE_STEP for earlier, later in itertools.pairwise(ordered))


def test_fence_is_what_anybody_raised_last(open_one: OpenOne):
    one, other = open_one(), open_one()

    first = one.raise_fence(0)
    seen = other.fence()
    second = other.raise_fence(0)

    assert seen == first
    assert one.fence() == other.fence() == second


def test_store_id_is_the_same_for_all_who_open_it(open_one: OpenOne):
    assert open_one().store_id() == open_one().store_id() != ""


def test_closed_store_keeps_what_was_flushed(open_one: OpenOne, make_row: MakeRow):
    row = make_row("run_total")
    first = open_one()
    put(first, "run_total", row, version=1)
    first.close()

    assert only(open_one(), "run_total", row) == row | {"version": 1}


def test_two_writers_at_once_lose_nothing(open_one: OpenOne, make_row: MakeRow):
    rows = windows(make_row, 200)

    def write(store: Store, part: list[dict[str, Any]]) -> None:
        for start in range(0, len(part), 10):
            put(store, "run_window_5s", *part[start : start + 10], version=1)

    threads = [threading.Thread(target=write, args=(open_one(), rows[half::2])) for half in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert starts(open_one().read("run_window_5s", partition("run_window_5s", rows[0]))) == list(range(200))


def test_state_shows(store: Store, make_row: MakeRow):
    put(store, "run_total", make_row("run_total"), version=1)

    assert "Store " in repr(store)
