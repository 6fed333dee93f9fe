"""What the flow tells Prometheus: measured around its readers, its store and its dead letters, a batch at a time."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kappawatt.emissions.reading import Batch, Reader
from kappawatt.metrics import KeptCounter, counter, gauge, histogram
from kappawatt.reasons import REASONS
from kappawatt.stores import Row, Store
from kappawatt.stores.tables import TABLES
from kappawatt.wire.records import DeadLetter

from .homes import Home
from .process import WATCHDOG
from .sinks import DeadLetters

_LOOK_S = 5.0
OTHER = "other"
_VERDICTS = ("counted", "duplicate", "rejected", "dead", "lost")
_ACCOUNTING = {name: place for place, name in enumerate(TABLES["accounting"].columns)}

RECORDS = counter("flow_records", "Records read from the log.", ["topic"])
BYTES = counter("flow_bytes", "Bytes of records read from the log.", ["topic"])
BATCH = histogram("flow_batch_records", "Records read at once.", [1, 10, 100, 500, 1_000, 5_000, 10_000, 20_000])
LAG = gauge("flow_lag_records", "Records of a partition that are not read yet.", ["source_partition"])
LAG_S = gauge(
    "flow_lag_seconds", "Age of the newest record read of a partition that has more; else 0.", ["source_partition"]
)
EVENT_TIME = gauge(
    "flow_event_time_seconds", "Newest event time counted of a partition, s since 1970.", ["source_partition"]
)
ROWS = counter("flow_rows", "Rows sent to the store.", ["table"])
DELETES = counter("flow_deletes", "Deletions sent to the store.", ["table"])
FLUSH_S = histogram(
    "flow_flush_seconds", "How long an epoch waited for the store.", [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60]
)
LETTERS = counter("flow_dead_letters", "Dead letters written.", ["reason"])
for _reason in (*REASONS, OTHER):  # from 0 on: the first of a kind is an increase, too
    LETTERS.labels(_reason)
EPOCH_AGE = gauge("flow_epoch_age_seconds", "Time since an epoch passed, or since the start.")
WAITING = gauge("flow_waiting_seconds", "How long store, log or registry have been waited for by now.")


class Accounting:
    """The newest accounting row of each partition that this process wrote: counts of committed state."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def __repr__(self) -> str:
        return f"<Accounting of {len(self._rows)} partitions>"

    def note(self, rows: Sequence[Row]) -> None:
        """Take rows of table `accounting`."""
        self._rows.update((row[0], row) for row in rows)

    def now(self) -> Iterator[tuple[Sequence[str], float]]:
        """By partition and verdict."""
        for partition, row in list(self._rows.items()):
            for verdict in _VERDICTS:
                yield (partition, verdict), row[_ACCOUNTING[verdict]]


ACCOUNTING = Accounting()
KeptCounter("flow_samples", "Samples of committed state by verdict.", ["source_partition", "verdict"], ACCOUNTING)
EPOCH_AGE.set_function(lambda: WATCHDOG.epoch_age_s() or 0.0)
WAITING.set_function(WATCHDOG.waited_s)


@runtime_checkable
class Lagging(Protocol):
    """A reader that knows how much it has not read yet."""

    def behind(self) -> Mapping[str, int]:
        """Records that are not read yet, by source partition; only what is known without asking anybody."""


class MeasuredReader:
    """A reader, and what it reads."""

    def __init__(self, topic: str, reader: Reader) -> None:
        self._reader = reader
        self._appended: dict[str, int] = {}
        self._looked = time.monotonic()
        self._records, self._bytes = RECORDS.labels(topic), BYTES.labels(topic)
        self.partitions, self.at_end = reader.partitions, reader.at_end
        self.dump, self.close = reader.dump, reader.close

    def __repr__(self) -> str:
        return f"<MeasuredReader {self._reader!r}>"

    def poll(self, prefer: Callable[[str], int]) -> list[Batch]:
        """What the reader has."""
        found = self._reader.poll(prefer)
        if found:
            self._count(found)
        if time.monotonic() - self._looked > _LOOK_S:
            self._look(prefer)
        return found

    def _count(self, found: list[Batch]) -> None:
        records = sum(len(batch) for batch in found)
        self._records.inc(records)
        self._bytes.inc(sum(int((batch.raw.end - batch.raw.start).sum()) for batch in found))
        BATCH.observe(records)
        self._appended.update((batch.partition, int(batch.append_us[-1])) for batch in found if len(batch.append_us))

    def _look(self, newest: Callable[[str], int]) -> None:
        self._looked = time.monotonic()
        now_us = time.time_ns() // 1_000
        behind = self._reader.behind() if isinstance(self._reader, Lagging) else {}
        for partition in self.partitions():
            if partition in behind:
                LAG.labels(partition).set(behind[partition])
            appended = self._appended.get(partition)
            late_us = 0 if appended is None or self.at_end(partition) else now_us - appended
            LAG_S.labels(partition).set(max(0, late_us) / 1e6)
            if (event_us := newest(partition)) > 0:
                EVENT_TIME.labels(partition).set(event_us / 1e6)


class MeasuredStore:
    """A store, and what is written to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read, self.scan, self.close = store.read, store.scan, store.close
        self.fence, self.raise_fence, self.store_id = store.fence, store.raise_fence, store.store_id

    def __repr__(self) -> str:
        return f"<MeasuredStore {self._store!r}>"

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """As the store."""
        self._store.write(table, rows, version)
        ROWS.labels(table).inc(len(rows))
        if table == "accounting":
            ACCOUNTING.note(rows)

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """As the store."""
        self._store.delete(table, keys, version)
        DELETES.labels(table).inc(len(keys))

    def flush(self) -> None:
        """As the store."""
        with FLUSH_S.time():
            self._store.flush()


class MeasuredLetters:
    """Dead letters, and how many of them."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters
        self.flush = letters.flush

    def __repr__(self) -> str:
        return f"<MeasuredLetters {self._letters!r}>"

    def write(self, letters: list[DeadLetter]) -> None:
        """As they are written."""
        self._letters.write(letters)
        for letter in letters:
            LETTERS.labels(letter.reason if letter.reason in REASONS else OTHER).inc()


class MeasuredHome:
    """A home whose readers and letters are measured."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.check, self.missing_beginnings, self.schemas = home.check, home.missing_beginnings, home.schemas

    def __repr__(self) -> str:
        return f"<MeasuredHome {self._home!r}>"

    def bucket(self, bucket: str, positions: Any) -> Reader:
        """As the home."""
        return MeasuredReader("sample", self._home.bucket(bucket, positions))

    def topic(self, topic: str, positions: Any) -> Reader:
        """As the home."""
        return MeasuredReader(topic, self._home.topic(topic, positions))

    def letters(self) -> DeadLetters:
        """As the home."""
        return MeasuredLetters(self._home.letters())
