"""What only the SQLite store promises: about its file, and those who share it."""

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kappawatt.errors import StoreError, Superseded
from kappawatt.stores import open_store
from kappawatt.stores.migrations import migrate
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import SCHEMA_VERSION

MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some/folder/store.db"


def fill(path: Path, table: str, *rows: dict[str, Any], version: int = 1) -> None:
    with closing(SqliteStore(path)) as store:
        store.write(table, [tuple(row.values()) for row in rows], version)
        store.flush()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def ask(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


def test_values_are_kept_as_the_page_on_the_store_says(path: Path, make_row: MakeRow):
    row = make_row("run_window_5s", run_id="r", date="2026-05-01", window_start=1_777_593_600_000_000, final=True)

    fill(path, "run_window_5s", row, version=3)

    found = ask(path, "SELECT run_id, date, window_start, final, version, typeof(emissions_g) FROM run_window_5s")
    assert found == [("r", "2026-05-01", 1_777_593_600_000_000, 1, 3, "real")]


def test_sum_beyond_64_bits_names_the_row_and_the_remedy(path: Path, make_row: MakeRow):
    row = make_row("run_total", run_id="big", energy_uj=1 << 63)

    with pytest.raises(StoreError, match=r"run_total\.energy_uj of 'big' is 9223372036854775808.*Cassandra"):
        fill(path, "run_total", row)


def test_reader_of_a_store_that_is_not_there_is_told_to_start_the_flow(path: Path):
    with pytest.raises(StoreError, match=f"no store yet at {path}; start the flow"):
        SqliteStore(path, read_only=True)

    assert not path.parent.exists()


def test_reader_of_an_empty_file_is_told_to_start_the_flow(tmp_path: Path):
    (tmp_path / "store.db").touch()

    with pytest.raises(StoreError, match="no store yet"):
        SqliteStore(tmp_path / "store.db", read_only=True)


def test_reader_sees_what_a_writer_flushed_since(path: Path, make_row: MakeRow):
    row = make_row("run_total")
    fill(path, "run", make_row("run"))

    with closing(open_store(f"sqlite:{path}", read_only=True)) as reader:
        fill(path, "run_total", row)

        assert reader.read("run_total", {"run_id": row["run_id"]}) == [row | {"version": 1}]


def test_reader_changes_nothing(path: Path, make_row: MakeRow):
    fill(path, "run", make_row("run"))

    with closing(SqliteStore(path, read_only=True)) as reader:
        with pytest.raises(StoreError, match="reading only"):
            reader.write("run", [tuple(make_row("run").values())], 1)
        with pytest.raises(StoreError, match="reading only"):
            reader.raise_fence(0)


@pytest.mark.parametrize("hold", [SqliteStore.fence, lambda store: store.raise_fence(0)], ids=["fence", "raise"])
def test_session_below_a_fence_that_another_raised_since_writes_nothing(
    path: Path, make_row: MakeRow, hold: Callable[[SqliteStore], int]
):
    with closing(SqliteStore(path)) as old, closing(SqliteStore(path)) as new:
        fence = hold(old)
        old.write("run", [tuple(make_row("run").values())], fence + 1)
        later = new.raise_fence(0)

        with pytest.raises(Superseded, match=rf"store\.db.* with fence {fence} .*fence is {later} .*One flow"):
            old.flush()

        assert list(new.scan("run")) == []


def test_session_writes_on_below_its_own_raised_fence(path: Path, make_row: MakeRow):
    with closing(SqliteStore(path)) as store:
        store.fence()
        fence = store.raise_fence(0)

        store.write("run", [tuple(make_row("run").values())], fence - 1)
        store.flush()

        assert len(list(store.scan("run"))) == 1


def test_file_of_something_else_is_refused(tmp_path: Path):
    change(tmp_path / "photos.db", "CREATE TABLE photo (name TEXT)")

    with pytest.raises(StoreError, match=r"photos\.db is an SQLite file of something else"):
        SqliteStore(tmp_path / "photos.db")


def test_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "store.db").write_text("my diary " * 1000)

    with pytest.raises(StoreError, match=r"not a database.*flow --rebuild"):
        SqliteStore(tmp_path / "store.db")


def test_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"cannot be opened: .*choose a file in a folder"):
        SqliteStore(tmp_path / "file/store.db")


def test_address_without_a_file_is_refused():
    with pytest.raises(StoreError, match="names no file"):
        open_store("sqlite:")


def test_store_of_a_newer_kappawatt_is_refused(path: Path, make_row: MakeRow):
    fill(path, "run", make_row("run"))
    change(path, f"UPDATE meta SET value = {SCHEMA_VERSION + 1} WHERE name = 'schema_version'")

    with pytest.raises(StoreError, match="upgrade kappawatt"):
        SqliteStore(path)
    with pytest.raises(StoreError, match="upgrade kappawatt"):
        SqliteStore(path, read_only=True)


def test_older_store_gets_what_it_lacks_and_keeps_its_rows(path: Path, make_row: MakeRow):
    row = make_row("run")
    fill(path, "run", row)
    change(path, "ALTER TABLE run DROP COLUMN hardware")
    change(path, "DROP TABLE late")
    change(path, "UPDATE meta SET value = 0 WHERE name = 'schema_version'")

    with pytest.raises(StoreError, match="kappawatt migrate"):
        SqliteStore(path, read_only=True)
    assert migrate(f"sqlite:{path}") == [f"SQLite schema version {SCHEMA_VERSION}"]
    assert migrate(f"sqlite:{path}") == []

    with closing(SqliteStore(path, read_only=True)) as store:
        assert store.read("run", {"run_id": row["run_id"]}) == [row | {"hardware": None, "version": 1}]
        assert list(store.scan("late")) == []


def test_writer_that_waits_too_long_for_the_lock_says_who_holds_it_up(path: Path, make_row: MakeRow):
    fill(path, "run", make_row("run"))
    with closing(SqliteStore(path, retry_s=0)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.write("run", [tuple(make_row("run").values())], 1)

        with pytest.raises(StoreError, match=r"locked by another program.*end that program"):
            store.flush()

        other.execute("ROLLBACK")
        store.flush()
        assert len(list(store.scan("run"))) == 2


def test_nothing_is_locked_between_write_and_flush(path: Path, make_row: MakeRow):
    with closing(SqliteStore(path)) as first, closing(SqliteStore(path, retry_s=0)) as second:
        first.write("run", [tuple(make_row("run").values())], 1)
        second.write("run", [tuple(make_row("run").values())], 1)
        second.flush()
        first.flush()

        assert len(list(first.scan("run"))) == 2


def test_one_bad_row_leaves_all_of_its_flush_out(path: Path, make_row: MakeRow):
    with closing(SqliteStore(path)) as store:
        store.write("run_total", [tuple(make_row("run_total").values())], 1)
        store.write("run_total", [tuple(make_row("run_total", energy_uj=1 << 70).values())], 1)

        with pytest.raises(StoreError):
            store.flush()

        assert list(store.scan("run_total")) == []


DIE_IN_THE_MIDDLE = """
import os, signal, sys
from kappawatt.stores.sqlite import SqliteStore

class Fatal(tuple):
    def __iter__(self):
        os.kill(os.getpid(), signal.SIGKILL)

def row(index, samples):
    return ("r", "2026-05-01", index) + (samples,) * 7 + (None,) * 7 + (samples, 1.0, 1.0, False)

store = SqliteStore(sys.argv[1])
store.write("run_window_5s", [row(index, 1) for index in range(20_000)], 1)
store.flush()
rows = [row(index, 2) for index in range(20_000)]
store.write("run_window_5s", [*rows, Fatal(rows[0])], 2)
store.flush()
"""


def test_writer_killed_in_the_middle_leaves_the_flush_before(path: Path, make_row: MakeRow):
    command = [sys.executable, "-c", DIE_IN_THE_MIDDLE, str(path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=60)

    assert killed.returncode == -signal.SIGKILL
    fill(path, "run", make_row("run"))
    assert ask(path, "SELECT count(*), min(version), max(version), max(samples) FROM run_window_5s") == [
        (20_000, 1, 1, 1)
    ]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


def _open_and_raise(path: Path) -> tuple[str, int]:
    with closing(SqliteStore(path)) as store:
        return store.store_id(), store.raise_fence(0)


def test_processes_that_make_the_file_together_get_one_store_and_different_fences(path: Path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(_open_and_raise, [path] * 12, chunksize=1)

    assert len({store_id for store_id, _ in found}) == 1
    assert len({fence for _, fence in found}) == 12
