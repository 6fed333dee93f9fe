"""The product's own job in a test's hand: plain records in, rows out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from kappawatt.emissions.job import emissions_job
from kappawatt.emissions.names import Keys, bucket_of, few_keys
from kappawatt.emissions.reading import Reader
from kappawatt.emissions.rings import with_journals
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stores import Store
from kappawatt.stream.job import Job, Runtime
from kappawatt.testing.driver import JobDriver
from kappawatt.testing.log import MemoryLog
from kappawatt.verify import Broken, verify
from kappawatt.wire import codec
from kappawatt.wire.decode import SampleDecoder
from kappawatt.wire.records import Intensity, RunEvent, Sample

FEW = few_keys(buckets=2, shards=2, zones=1)
"""Two of what can be two: a start with all 65 keys of the product takes longer than most tests."""

Record = Mapping[str, Any]


class EmissionsDriver(JobDriver):
    """A `JobDriver` of the emissions job over a log in memory.

    Args:
        log: Where records come from; a new one by default. A partition named by a number p is of bucket p mod their
            count, as on Kafka, another by its name, as in files.
        config: The numbers that decide about rows; the shards are as many as *keys* has.
        idle_us: How long a partition is silent at its end until it holds nobody back.
        keys: How many buckets, shards and zone shards there are.
        options: As for `JobDriver`.
    """

    def __init__(
        self,
        *,
        log: MemoryLog | None = None,
        config: LedgerConfig | None = None,
        idle_us: int = 60_000_000,
        keys: Keys = FEW,
        open_store: Callable[[], Store] | None = None,
        **options: Any,
    ) -> None:
        self.log = MemoryLog() if log is None else log
        for topic in ("intensity", "run_event"):
            self.log.create(topic, "0")
        self._config = replace(config or LedgerConfig(), shards=len(keys.shards))
        self._keys, self._idle_us = keys, idle_us
        self._until_end = False
        super().__init__(self._job, open_store=open_store, **options)

    def samples(self, partition: str, *records: Record | Sample, append_us: int | None = None) -> Self:
        """Append samples to a source partition, as of now or another append time.

        A clock that is behind a sample's end is set to it: samples are appended after they were taken.
        """
        for record in records:
            fields = record if isinstance(record, Mapping) else record.to_avro()
            if append_us is None and fields["end"] > self.now_us:
                self.set_clock(fields["end"])
            at = self.now_us if append_us is None else append_us
            self.log.append("sample", partition, codec.encode("sample", fields), append_us=at)
        return self

    def prices(self, *records: Record | Intensity) -> Self:
        """Append to topic `intensity`."""
        for record in records:
            self.log.append("intensity", "0", encoded("intensity", record))
        return self

    def events(self, *records: Record | RunEvent) -> Self:
        """Append to topic `run_event`."""
        for record in records:
            self.log.append("run_event", "0", encoded("run_event", record))
        return self

    def until_end(self) -> Self:
        """Read the log to its end and make everything final, as `kappawatt flow --until-end`; then the job is stopped.

        A job that is running is drained first.
        """
        if self.is_running:
            self.drain()
        with self.bounded():
            self.start().to_end()
        return self

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Starts in here read the log to where it ends, and make everything final."""
        self._until_end = True
        try:
            yield
        finally:
            self._until_end = False

    def broken(self) -> list[Broken]:
        """The equations of the conservation law that the store breaks; none: it holds."""
        store = self._open_store()
        try:
            return verify(store).broken
        finally:
            store.close()

    def _job(self, runtime: Runtime) -> Job:
        until_end = self._until_end

        def bucket(name: str, positions: Any) -> Reader:
            number = self._keys.buckets.index(name)
            return self.log.reader("sample", lambda each: self._bucket(each) == number, positions, bounded=until_end)

        def topic(name: str, positions: Any) -> Reader:
            return self.log.reader(name, lambda _: True, positions, bounded=until_end)

        job = emissions_job(
            self._config,
            runtime,
            open_bucket=bucket,
            open_topic=topic,
            decoder=lambda: SampleDecoder(lambda _: None),
            schema_of=lambda _: None,
            bounded=until_end,
            final=until_end,
            idle_us=self._idle_us,
            keys=self._keys,
        )
        return with_journals(job, self._config)

    def _bucket(self, partition: str) -> int:
        number = int(partition) if partition.isdecimal() else bucket_of(partition)
        return number % len(self._keys.buckets)


def encoded(topic: str, record: Any) -> bytes:
    """A record, as a mapping by the Avro names or as one of `kappawatt.wire.records`, as the log has it."""
    return codec.encode(topic, record if isinstance(record, Mapping) else record.to_avro())
