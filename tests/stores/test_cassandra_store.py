"""What only the Cassandra store promises: about its tables, its addresses and its outages."""

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from kappawatt.errors import StoreError
from kappawatt.stores import cql, open_store
from kappawatt.stores.cassandra import CassandraStore
from kappawatt.stores.tables import TABLES

MakeRow = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(cassandra_url: str) -> Iterator[CassandraStore]:
    with closing(CassandraStore.from_url(cassandra_url, {})) as opened:
        yield opened


@pytest.fixture
def keyspace_name(cassandra_url: str) -> str:
    return cassandra_url.rsplit("/", 1)[1]


def put(store: CassandraStore, table: str, *rows: dict[str, Any], version: int = 1) -> None:
    store.write(table, [tuple(row.values()) for row in rows], version)
    store.flush()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_are_those_described_in_python(cassandra_session: Any, keyspace_name: str, table: Any):
    columns = list(
        cassandra_session.execute(
            "SELECT column_name, type, kind, position FROM system_schema.columns "
            "WHERE keyspace_name = %s AND table_name = %s",
            (keyspace_name, table.name),
        )
    )

    def key(kind: str) -> tuple[str, ...]:
        return tuple(one.column_name for one in sorted(columns, key=lambda one: one.position) if one.kind == kind)

    types = {name: cql.CQL_TYPES[kind] for name, kind in table.columns.items()} | {"version": "bigint"}
    assert {one.column_name: one.type for one in columns} == types
    assert key("partition_key") == table.partition
    assert key("clustering") == table.clustering


def test_anyone_can_ask_for_a_day_of_a_run_in_plain_cql(
    store: CassandraStore, cassandra_session: Any, keyspace_name: str, make_row: MakeRow
):
    rows = [make_row("run_window_5s", run_id="bert", date="2026-05-01", window_start=at) for at in (0, 5_000_000)]
    put(store, "run_window_5s", *rows)

    found = cassandra_session.execute(
        f"SELECT energy_uj FROM {keyspace_name}.run_window_5s WHERE run_id = 'bert' AND date = '2026-05-01'"
    )

    assert [energy for (energy,) in found] == [row["energy_uj"] for row in rows]


@pytest.mark.parametrize("energy_uj", [1 << 63, 1 << 100, -(1 << 90), 128, -128, -129, 0])
def test_sums_may_pass_64_bits(store: CassandraStore, make_row: MakeRow, energy_uj: int):
    row = make_row("run_total", energy_uj=energy_uj)

    put(store, "run_total", row)

    assert store.read("run_total", {"run_id": row["run_id"]}) == [row | {"version": 1}]


@pytest.mark.parametrize(("written", "kept"), [(1_999, 1_000), (-1, -1_000)], ids=["after 1970", "before"])
def test_instants_are_floored_to_the_millisecond(store: CassandraStore, make_row: MakeRow, written: int, kept: int):
    row = make_row("run_total", first_start=written)

    put(store, "run_total", row)

    assert store.read("run_total", {"run_id": row["run_id"]})[0]["first_start"] == kept


def test_nulls_leave_nothing_that_a_read_must_step_over(
    store: CassandraStore, cassandra_session: Any, keyspace_name: str, make_row: MakeRow
):
    nulls = dict.fromkeys(("emissions_g", "water_l", "cost", "currency", "intensity_kind", "zone_level"))
    day = make_row("run_window_5s") | nulls
    put(store, "run_window_5s", *(day | {"window_start": index * 5_000_000} for index in range(200)))

    text = f"SELECT * FROM {keyspace_name}.run_window_5s WHERE run_id = %s AND date = %s"
    found = cassandra_session.execute(text, (day["run_id"], day["date"]), trace=True)

    events = [event.description for event in found.get_query_trace(max_wait_sec=30).events]
    assert any("Read 200 live rows and 0 tombstone cells" in event for event in events), events


def test_keyspace_that_is_missing_is_an_error_with_the_remedy(cassandra_address: str):
    with pytest.raises(StoreError, match="there is no keyspace not_there; run `kappawatt migrate"):
        open_store(f"cassandra://{cassandra_address}/not_there")


def test_keyspace_without_tables_is_an_error_with_the_remedy(cassandra_address: str, keyspace: str):
    with pytest.raises(StoreError, match="lacks the table accounting; run `kappawatt migrate`"):
        open_store(f"cassandra://{cassandra_address}/{keyspace}")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_address_that_refuses_is_an_error_with_the_remedy(closed_port: int):
    with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{closed_port}/kw cannot be reached: .*start Cassandra there"):
        open_store(f"cassandra://127.0.0.1:{closed_port}/kw")


def test_address_that_says_nothing_is_given_up_in_about_ten_seconds(silent_port: int):
    start = time.monotonic()

    with pytest.raises(StoreError, match="cannot be reached"):
        open_store(f"cassandra://127.0.0.1:{silent_port}/kw")

    assert time.monotonic() - start < 20


def test_name_that_does_not_resolve_is_an_error():
    with pytest.raises(StoreError, match="its name cannot be resolved"):
        open_store("cassandra://no-such-host.invalid/kw")


FORK = """
import os, sys
from kappawatt.errors import StoreError
from kappawatt.stores import open_store

store = open_store(sys.argv[1])
store.read("run", {"run_id": "r"})
child = os.fork()
if child == 0:
    try:
        store.write("run", [("r",) + (None,) * 18], 1)
        store.flush()
    except StoreError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_connection_is_not_taken_across_a_fork(cassandra_url: str):
    child = subprocess.run([sys.executable, "-c", FORK, cassandra_url], cwd=ROOT, check=False, timeout=60)

    assert child.returncode == 7


class Cable:
    """A TCP way to the server that can be cut and mended."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self._open: list[socket.socket] = []
        self._server: socket.socket | None = None
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        if self._server is not None:
            # Closing alone does not end an accept() that another thread is in.
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        for end in self._open:
            _hang_up(end)
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _hang_up(source)
    _hang_up(sink)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def cable(cassandra_address: str) -> Iterator[Cable]:
    made = Cable(cassandra_address)
    yield made
    made.cut()


@pytest.mark.parametrize("before", ["run", "run_window_5s"], ids=["first write", "later write"])
def test_writes_wait_for_a_store_that_is_away_and_warn_once(
    cable: Cable, keyspace_name: str, make_row: MakeRow, caplog: pytest.LogCaptureFixture, before: str
):
    caplog.set_level(logging.INFO)
    first = make_row("run_window_5s")
    rows = [first | {"window_start": index * 5_000_000, "cost": None} for index in range(500)]
    with closing(CassandraStore.from_url(f"cassandra://127.0.0.1:{cable.port}/{keyspace_name}", {})) as store:
        put(store, before, make_row(before))
        cable.cut()
        writer = threading.Thread(target=put, args=(store, "run_window_5s", *rows))
        writer.start()
        wait_for(lambda: "does not take writes" in caplog.text)

        cable.mend()
        writer.join(timeout=60)

        assert not writer.is_alive()
        found = store.read("run_window_5s", {"run_id": first["run_id"], "date": first["date"]})
        assert found == [row | {"version": 1} for row in rows]
    assert caplog.text.count("does not take writes") == 1
    assert caplog.text.count("takes writes again") == 1


@pytest.mark.parametrize("before", ["accounting", "run"], ids=["first write", "later write"])
def test_writes_are_given_up_after_the_time_that_was_set(
    cable: Cable, keyspace_name: str, make_row: MakeRow, before: str
):
    url = f"cassandra://127.0.0.1:{cable.port}/{keyspace_name}"
    with closing(CassandraStore.from_url(url, {}, retry_s=0.5)) as store:
        put(store, before, make_row(before))
        cable.cut()

        with pytest.raises(StoreError, match=r"refuses to write|did not answer"):
            put(store, "run", make_row("run"))


def wait_for(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    changed = threading.Event()
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        changed.wait(0.02)
