"""A whole ledger in a test's hand: encoded records go in by bucket, rows come out by table and key."""

import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kappawatt.ledger import control
from kappawatt.ledger.bucket import Bucket, Verdict
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import Frame
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.prices import Price
from kappawatt.ledger.repricing import Reprice, repriced
from kappawatt.ledger.routing import shard_of
from kappawatt.ledger.runs import Event
from kappawatt.ledger.shard import Shard
from kappawatt.ledger.zones import ZoneTotals
from kappawatt.stores.tables import TABLES
from kappawatt.wire import codec
from kappawatt.wire.columns import Decoded, RawBatch
from kappawatt.wire.decode import SampleDecoder

Record = Mapping[str, Any]
Rows = dict[str, dict[tuple[Any, ...], dict[str, Any]]]

DAY = 86_400_000_000
APPENDED = 4_000_000_000_000_000  # µs; behind every end in the tests
WINDOWS = ("run_window_5s", "run_window_5m", "run_window_1h")


def raw(records: Iterable[Record]) -> RawBatch:
    """The records as the log has them, one behind the other."""
    return raw_of([codec.encode("sample", record) for record in records])


def raw_of(datums: list[bytes]) -> RawBatch:
    """Encoded datums, one behind the other."""
    end = np.cumsum([len(datum) for datum in datums], dtype=np.int64)
    start = end - np.array([len(datum) for datum in datums], np.int64)
    return RawBatch(b"".join(datums), start, end, np.zeros(len(datums), np.int32))


def decoder() -> SampleDecoder:
    """A decoder that knows the bundled schema only."""
    return SampleDecoder(lambda _: None)


def decoded(*records: Record) -> tuple[Decoded, SampleDecoder]:
    """The records as columns, and who decoded them."""
    by = decoder()
    return by.decode(raw(records)), by


def add(
    bucket: Bucket,
    *records: Record,
    partition: str = "sample/p",
    append_us: int = APPENDED,
    watermark_us: int | None = None,
) -> Verdict:
    """Add records of one partition to a bucket; their positions are 0, 1, 2 …"""
    return bucket.add(
        partition,
        raw(records),
        position=[str(index) for index in range(len(records))],
        append_us=np.full(len(records), append_us),
        after=str(len(records)),
        watermark_us=watermark_us,
    )


def frames_of(*records: Record, config: LedgerConfig | None = None) -> list[tuple[int, Frame]]:
    """What a fresh bucket makes of the records."""
    return add(Bucket(config or LedgerConfig(shards=1), decoder()), *records).frames


def messages(prices: Iterable[Record] = (), events: Iterable[Record] = ()) -> list[Price | tuple[str, Event]]:
    """What shards are told of accepted prices and run events."""
    asked = [control.price(record) for record in prices]
    return [each for each in asked if each is not None] + [control.event(record) for record in events]


class Ledger:
    """Buckets, shards, zones and a store that is a dict. What is read reaches the rows by `flush`."""

    def __init__(self, *buckets: str, **config: Any) -> None:
        self.config = LedgerConfig(**{"shards": 3, **config})
        self.names = buckets or ("b",)
        self.buckets = {name: Bucket(self.config, decoder()) for name in self.names}
        self.shards = [Shard(self.config, self.names) for _ in range(self.config.shards)]
        self.zones = ZoneTotals()
        self.rows: Rows = {name: {} for name in TABLES}
        self.reasons: list[str] = []
        self._told_us: dict[str, int] = {}

    def read(self, *records: Record, partition: str = "sample/p", bucket: str | None = None) -> "Ledger":
        """Read samples; those that shards might have evicted by now come as suspects, as in the dataflow."""
        name = bucket or self.names[0]
        verdict = add(self.buckets[name], *records, partition=partition, watermark_us=self._told_us.get(name))
        self.reasons += [letter.reason for letter in verdict.dead]
        for shard, frame in verdict.frames:
            self.shards[shard].add(frame)
        for shard, suspect in verdict.suspects:
            self.shards[shard].add(suspect)
        return self

    def hear(self, *messages: Price | tuple[str, Event]) -> "Ledger":
        """Take prices (all shards) and events (the run's shard)."""
        for message in messages:
            if isinstance(message, Price):
                for shard in self.shards:
                    shard.add(message)
            else:
                self.shards[shard_of(message[0], self.config.shards)].add(message)
        return self

    def price(self, *records: Record) -> "Ledger":
        """Take price records."""
        return self.hear(*messages(prices=records))

    def event(self, *records: Record) -> "Ledger":
        """Take run events."""
        return self.hear(*messages(events=records))

    def report(
        self, watermark_us: int | None, *, bucket: str | None = None, ended: bool = False, read_us: int | None = None
    ) -> "Ledger":
        """Tell all shards how far a bucket has come; None: it is idle, and has read what had arrived by *read_us*."""
        name = bucket or self.names[0]
        if watermark_us is not None:
            self._told_us[name] = max(watermark_us, self._told_us.get(name, watermark_us))
        for shard in self.shards:
            shard.add(Report(name, watermark_us, ended, self.buckets[name].newest_us if ended else None, read_us))
        return self

    def flush(self) -> "Ledger":
        """Fold what was taken, and write what changed."""
        for number, shard in enumerate(self.shards):
            flush = shard.flush()
            self.reasons += [letter.reason for letter in flush.dead]
            for table, keys in flush.deletes.items():
                for key in keys:
                    self.rows[table].pop(key, None)
            for table, rows in flush.rows.items():
                self._write(table, rows)
            for part in flush.zones:
                self.zones.replace(number, part)
            self._obey(flush.orders)
        self._write("zone_window_1h", self.zones.flush())
        return self

    def end(self) -> "Ledger":
        """The end of the log: every bucket has ended."""
        for name in self.names:
            self.report(None, bucket=name, ended=True)
        return self.flush()

    def restart(self) -> "Ledger":
        """Lose everything but the state and the store; only right after `flush`."""
        buckets = {name: bucket.dump() for name, bucket in self.buckets.items()}
        state = pickle.loads(pickle.dumps((buckets, [shard.dump() for shard in self.shards], self.zones.dump())))
        self.buckets = {name: Bucket(self.config, decoder()) for name in self.names}
        self.shards = [Shard(self.config, self.names) for _ in self.shards]
        self.zones = ZoneTotals()
        for name, bucket in self.buckets.items():
            bucket.load(state[0][name])
        for shard, dumped in zip(self.shards, state[1], strict=True):
            shard.load(dumped)
        self.zones.load(state[2])
        return self

    def table(self, name: str, **where: Any) -> list[dict[str, Any]]:
        """Rows of a table in the order of their keys, those with the given values."""
        rows = [row for _, row in sorted(self.rows[name].items())]
        return [row for row in rows if all(row[column] == value for column, value in where.items())]

    def only(self, name: str, **where: Any) -> dict[str, Any]:
        """The one such row."""
        (row,) = self.table(name, **where)
        return row

    def total(self, table: str, column: str = "energy_uj", **where: Any) -> int:
        """Sum of a column."""
        return sum(row[column] for row in self.table(table, **where))

    def _obey(self, orders: Iterable[Reprice]) -> None:
        """Price settled rows anew, as the sink does."""
        for order in orders:
            rows = self.table("run_window_5s", run_id=order.run_id, date=order.date)
            near = [row for row in rows if order.since_us <= row["window_start"] <= order.until_us]
            self._write("run_window_5s", [tuple(row.values()) for row in repriced(order, near)])

    def _write(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        description = TABLES[table]
        for values in rows:
            row = dict(zip(description.columns, values, strict=True))
            self.rows[table][tuple(row[column] for column in description.key)] = row
