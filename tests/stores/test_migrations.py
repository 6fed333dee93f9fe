"""Numbered CQL files: named, whole, applied once, and by one at a time."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kappawatt.errors import StoreError
from kappawatt.resources import data_dir
from kappawatt.stores import open_store
from kappawatt.stores.address import Address
from kappawatt.stores.connection import Connection
from kappawatt.stores.migrations import Migration, apply, migrate, migrations
from kappawatt.stores.tables import SCHEMA_VERSION, TABLES

FILES = sorted(data_dir("cassandra").glob("*.cql"))

RELEASED_TABLES = {1: "9218d7c16e17e24f"}
"""Schema version to the checksum of its tables. That of a released version never changes: raise the version instead."""


@pytest.fixture
def url(cassandra_address: str, keyspace: str) -> str:
    return f"cassandra://{cassandra_address}/{keyspace}"


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with closing(Connection(Address.parse(url, {}))) as opened:
        opened.use_keyspace()
        yield opened


def step(number: int, text: str) -> Migration:
    return Migration(number, f"{number:03}_make_thing.cql", text)


def tables(connection: Connection, keyspace: str) -> set[str]:
    text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
    return {name for (name,) in connection.execute(text, (keyspace,))}


def test_schema_version_is_the_number_of_the_last_file():
    assert migrations()[-1].number == SCHEMA_VERSION


def test_tables_change_only_with_a_new_schema_version():
    text = repr(
        [(table.name, table.partition, table.clustering, [*table.columns.items()]) for table in TABLES.values()]
    )

    assert hashlib.sha256(text.encode()).hexdigest()[:16] == RELEASED_TABLES[SCHEMA_VERSION]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_says_what_and_why_first_and_never_filters(file: Path):
    text = file.read_text(encoding="utf-8")

    assert text.startswith("-- ")
    assert "Why: " in text.split("\n\n")[0]
    assert "ALLOW FILTERING" not in text.upper()


def test_no_query_of_ours_filters():
    for source in (data_dir("cassandra").parent / "kappawatt/stores").glob("*.py"):
        assert "ALLOW FILTERING" not in source.read_text(encoding="utf-8").upper()


@pytest.mark.parametrize("name", ["create.cql", "001.cql", "1_create_tables.cql", "001_Create_tables.cql"])
def test_file_with_another_name_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).touch()

    with pytest.raises(StoreError, match=r"NNN_verb_noun\.cql"):
        migrations(tmp_path)


@pytest.mark.parametrize("numbers", [[], [2], [1, 3], [1, 1]], ids=str)
def test_numbers_with_gaps_are_refused(tmp_path: Path, numbers: list[int]):
    for index, number in enumerate(numbers):
        (tmp_path / f"{number:03}_make_{index}.cql").touch()

    with pytest.raises(StoreError, match="not numbered 001, 002"):
        migrations(tmp_path)


def test_migrated_keyspace_can_be_opened_and_migrated_again(url: str):
    assert migrate(url) == [file.name for file in FILES]
    assert migrate(url) == []

    with closing(open_store(url)) as store:
        assert store.store_id()


def test_second_migration_keeps_the_store_id_and_the_fence(url: str):
    migrate(url)
    with closing(open_store(url)) as store:
        store_id, fence = store.store_id(), store.raise_fence(1 << 50)

    migrate(url)

    with closing(open_store(url)) as store:
        assert store.store_id() == store_id
        assert store.raise_fence(0) > fence


def test_keyspace_is_made_when_asked(cassandra_session: Any, cassandra_address: str, keyspace: str):
    cassandra_session.execute(f"DROP KEYSPACE {keyspace}")
    url = f"cassandra://{cassandra_address}/{keyspace}"

    with pytest.raises(StoreError, match="there is no keyspace"):
        migrate(url)

    assert migrate(url, create_keyspace=True) == [file.name for file in FILES]


def test_only_new_files_are_applied(connection: Connection, keyspace: str):
    first = step(1, "CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, number bigint, value text)")
    second = step(
        2, "-- why\nCREATE TABLE IF NOT EXISTS a (b int PRIMARY KEY); CREATE TABLE IF NOT EXISTS c (d int PRIMARY KEY);"
    )
    assert apply(connection, [first]) == ["001_make_thing.cql"]

    assert apply(connection, [first, second]) == ["002_make_thing.cql"]

    assert {"a", "c"} <= tables(connection, keyspace)


def test_applied_file_may_not_be_edited(connection: Connection):
    text = "CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, number bigint, value text)"
    apply(connection, [step(1, text)])

    with pytest.raises(StoreError, match=r"001_make_thing\.cql is not the text that was applied"):
        apply(connection, [step(1, text + " -- better")])


def test_migration_that_failed_half_way_goes_on_where_it_was(connection: Connection, keyspace: str):
    good = "CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, number bigint, value text);"
    with pytest.raises(StoreError, match="refused"):
        apply(connection, [step(1, good + "CREATE TABLE IF NOT EXISTS x (y nonsense PRIMARY KEY)")])

    assert apply(connection, [step(1, good + "CREATE TABLE IF NOT EXISTS x (y int PRIMARY KEY)")])

    assert "x" in tables(connection, keyspace)


def test_migrations_at_once_wait_for_each_other(url: str):
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(applied) == [[], [], [file.name for file in FILES]]


def test_store_of_a_newer_kappawatt_is_refused(url: str, connection: Connection):
    migrate(url)
    connection.execute(
        "INSERT INTO schema_migration (number, name, checksum) VALUES (%s, %s, %s)", (SCHEMA_VERSION + 1, "next", "")
    )

    with pytest.raises(StoreError, match="upgrade kappawatt"):
        open_store(url)


def test_store_that_is_behind_names_the_command(url: str, connection: Connection):
    migrate(url)
    connection.execute("DELETE FROM schema_migration WHERE number = %s", (SCHEMA_VERSION,))

    with pytest.raises(StoreError, match="run `kappawatt migrate`"):
        open_store(url)
