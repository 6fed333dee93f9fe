"""Stores to test, and rows to put into them."""

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kappawatt.stores import Store
from kappawatt.stores.migrations import migrate
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import TABLES, Kind
from kappawatt.testing import MemoryStore

REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@pytest.fixture(scope="module")
def cassandra_url(cassandra_session: Any, cassandra_address: str) -> Iterator[str]:
    """URL of a keyspace with all tables; a module's tests share it and use keys of their own."""
    keyspace = f"t_{uuid.uuid4().hex[:10]}"
    url = f"cassandra://{cassandra_address}/{keyspace}"
    migrate(url, create_keyspace=True, replication=REPLICATION)
    yield url
    cassandra_session.execute(f"DROP KEYSPACE {keyspace}")


@pytest.fixture(params=["memory", "sqlite", pytest.param("cassandra", marks=pytest.mark.stack)])
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again and again; all are closed after the test."""
    opened: list[Store] = []
    kept = MemoryStore()

    def sqlite() -> Store:
        return SqliteStore(tmp_path / "store.db")

    def cassandra() -> Store:
        from kappawatt.stores.cassandra import CassandraStore

        return CassandraStore.from_url(request.getfixturevalue("cassandra_url"), {})

    def open_() -> Store:
        opened.append({"memory": kept.open, "sqlite": sqlite, "cassandra": cassandra}[request.param]())
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_one: Callable[[], Store]) -> Store:
    """A store with all tables."""
    return open_one()


EXAMPLES: dict[Kind, Callable[[random.Random], Any]] = {
    Kind.TEXT: lambda chance: f"é✓ {chance.getrandbits(64):x}",
    Kind.BIGINT: lambda chance: chance.randrange(-(1 << 63), 1 << 63),
    Kind.VARINT: lambda chance: chance.randrange(-(1 << 63), 1 << 63),
    Kind.DOUBLE: lambda chance: chance.uniform(-1e9, 1e9),
    Kind.INSTANT: lambda chance: chance.randrange(1 << 41) * 1000,
    Kind.DATE: lambda chance: (date(1970, 1, 1) + timedelta(days=chance.randrange(1 << 15))).isoformat(),
    Kind.BOOLEAN: lambda chance: chance.random() < 0.5,
}


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    """Makes rows with random values, so that no two tests meet; what is given is kept."""
    chance = random.Random(uuid.uuid4().int)

    def make(table: str, **given: Any) -> dict[str, Any]:
        drawn = {name: EXAMPLES[kind](chance) for name, kind in TABLES[table].columns.items()}
        return drawn | given

    return make
