"""Rows of run_window_5s that one process can write a second.

    python benchmarks/store_writes.py [--cassandra HOST:PORT]

Prints JSON. `rows_per_s` is by the clock, `rows_per_cpu_s` by the processor time of this process and all its threads.
The Cassandra figures by the clock are those of the server, where it shares the machine.
"""

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from kappawatt.stores import Row, Store
from kappawatt.stores.sqlite import SqliteStore

FLUSH_ROWS = 5_000
LIMIT_S = 4.0


def rows(*, of_each: int, priced: bool) -> list[Row]:
    """A flush of new rows: so many windows of each of some runs; 500 as after a catch-up, one as when live."""
    energy = (123_456_789, 23_456_789, 90_000_000, 10_000_000, 0, 23_456_789, 0)
    price = (1.5, 0.25, 0.5, "EUR", 380.0, "actual", "zone") if priced else (None,) * 7
    keys = [(run, window) for run in range(FLUSH_ROWS // of_each) for window in range(of_each)]
    return [
        (f"run-{run:06}", "2026-05-01", window * 5_000_000, *energy, *price, 5, 0.98, 512.3, False)
        for run, window in keys
    ]


def measure(store: Store, batch: list[Row]) -> dict[str, Any]:
    """Flush after flush for some seconds, each with keys of its own."""
    written, version = 0, 1
    start, start_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < LIMIT_S:
        # Fresh keys are what a live flow writes: windows that were not there before.
        fresh = [(f"{row[0]}-{version}", *row[1:]) for row in batch]
        store.write("run_window_5s", fresh, version)
        store.flush()
        written += len(fresh)
        version += 1
    return {
        "rows": written,
        "rows_per_s": round(written / (time.perf_counter() - start)),
        "rows_per_cpu_s": round(written / (time.process_time() - start_cpu)),
    }


def sweep(open_: Callable[[], Store]) -> dict[str, Any]:
    """The measurements of one store."""
    with closing(open_()) as store:
        return {
            "500 windows of each run": measure(store, rows(of_each=500, priced=True)),
            "one window of each run": measure(store, rows(of_each=1, priced=True)),
            "one window of each run, unpriced (7 nulls)": measure(store, rows(of_each=1, priced=False)),
        }


def cassandra(address: str) -> dict[str, Any]:
    """The measurements in a keyspace of their own, which is dropped."""
    from kappawatt.stores.address import Address
    from kappawatt.stores.cassandra import CassandraStore
    from kappawatt.stores.connection import Connection
    from kappawatt.stores.migrations import migrate

    keyspace = f"bench_{uuid.uuid4().hex[:8]}"
    url = f"cassandra://{address}/{keyspace}"
    migrate(url, create_keyspace=True)
    try:
        return sweep(lambda: CassandraStore.from_url(url))
    finally:
        with closing(Connection(Address.parse(url))) as connection:
            connection.change_schema(f"DROP KEYSPACE {keyspace}")


def main() -> None:
    """Measure what is there, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cassandra", metavar="HOST:PORT", help="measure a Cassandra there, besides SQLite")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": sweep(lambda: SqliteStore(Path(folder) / "store.db"))}
    if args.cassandra:
        found["cassandra"] = cassandra(args.cassandra)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
