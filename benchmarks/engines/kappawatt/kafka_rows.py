"""A store that writes the benchmark's rows to a Kafka topic and lets the other tables go."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from confluent_kafka import Producer

from kappawatt.errors import StoreError
from kappawatt.stores import FENCE_STEP, Row
from kappawatt.stores.tables import TABLES

WINDOWS = {"run_window_5s": 5, "run_window_5m": 300}
NAMES = ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj", "emissions_g")
FLUSH_S = 60


def places(table: str, names: Sequence[str]) -> tuple[int, ...]:
    """Where columns stand in a row of *table*."""
    columns = list(TABLES[table].columns)
    return tuple(columns.index(name) for name in names)


_RUN, _START = places("run_window_5s", ("run_id", "window_start"))
_WINDOW = places("run_window_5s", NAMES)
_TOTAL = places("run_total", ("run_id", "energy_uj", "emissions_g"))
_COUNTS = places("accounting", ("source_partition", "duplicate", "dead"))
_LATE = places("late", ("collector_id", "seq"))


def open_store(url: str) -> "KafkaRows":
    """The store of `HOST:PORT/TOPIC`."""
    return KafkaRows(*url.split("/"))


def open_live(url: str) -> "KafkaRows":
    """The same; what opens it for the second time is the dataflow, which reads from then on."""
    if next(_opened):
        print("BENCH ready", flush=True)
    return open_store(url)


_opened = itertools.count()


class KafkaRows:
    """A `Store`: rows of 5 s, 5 min and totals, and what accounting and table `late` count."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        settings = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "compression.type": "lz4"}
        settings |= {"enable.idempotence": True, "queue.buffering.max.messages": 1_000_000}
        self._producer, self._topic = Producer(settings), topic

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """Start to write *rows*; a key's rows keep their order, so the last is the newest."""
        if table in WINDOWS:
            self._windows(WINDOWS[table], rows)
        elif table == "run_total":
            run, energy, grams = _TOTAL
            for row in rows:
                self._send(f"{row[run]}|total|0", f'{{"energy_uj":{row[energy]},"emissions_g":{_number(row[grams])}}}')
        elif table == "accounting":
            source, duplicate, dead = _COUNTS
            for row in rows:
                self._send(f"count|duplicate|{row[source]}", f'{{"n":{row[duplicate]}}}')
                self._send(f"count|dead|{row[source]}", f'{{"n":{row[dead]}}}')
        elif table == "late":
            collector, seq = _LATE
            for row in rows:
                self._send(f"count|late|{row[collector]}/{row[seq]}", '{"n":1}')

    def _windows(self, size: int, rows: Sequence[Row]) -> None:
        energy, cpu, gpu, memory, other, estimated, grams = _WINDOW
        for row in rows:
            self._send(
                f"{row[_RUN]}|{size}|{row[_START]}",
                f'{{"energy_uj":{row[energy]},"cpu_uj":{row[cpu]},"gpu_uj":{row[gpu]},"memory_uj":{row[memory]},'
                f'"other_uj":{row[other]},"estimated_uj":{row[estimated]},"emissions_g":{_number(row[grams])}}}',
            )

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """Rows taken back: a message without a value."""
        if table in WINDOWS:
            for run, _, start in keys:
                self._send(f"{run}|{WINDOWS[table]}|{start}", None)
        elif table == "run_total":
            for (run,) in keys:
                self._send(f"{run}|total|0", None)
        elif table == "late":
            for *_, collector, seq in keys:
                self._send(f"count|late|{collector}/{seq}", '{"n":0}')

    def _send(self, key: str, value: str | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key)
                return
            except BufferError:
                self._producer.poll(0.05)

    def flush(self) -> None:
        """Return when Kafka has all."""
        if left := self._producer.flush(FLUSH_S):
            raise StoreError(f"{left} rows were not delivered in {FLUSH_S} s; is the broker up?")

    def read(self, table: str, partition: Mapping[str, Any], **bounds: Any) -> NoReturn:
        """Asked for old rows only when an intensity comes days late, which the benchmark's do not."""
        raise StoreError(f"{table} is not kept: the benchmark's rows are only written")

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """Nothing is kept."""
        return iter(())

    def fence(self) -> int:
        """None is kept in a topic: a measured flow is alone."""
        return 0

    def raise_fence(self, now_us: int) -> int:
        """The time, which rises from start to start."""
        return max(now_us, time.time_ns() // 1_000 + FENCE_STEP)

    def store_id(self) -> str:
        """The topic is the store."""
        return self._topic

    def close(self) -> None:
        """Return when Kafka has all."""
        self.flush()


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
