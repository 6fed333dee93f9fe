"""Kafka as the flow's log: buckets of partitions, control topics, dead letters, writer schemas from the registry."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kappawatt.emissions.names import BUCKETS
from kappawatt.emissions.reading import Batch, Positions, Reader
from kappawatt.errors import LogError
from kappawatt.log.bucket_consumer import BucketConsumer, KafkaBatch
from kappawatt.log.kafka import Failure, KafkaLog
from kappawatt.wire import codec
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.registry import Registry

from .letters import letter_datum
from .sinks import DeadLetters

_LOGGER = logging.getLogger("kappawatt.flow")
_MESSAGES = 5_000
_LOOK_FOR_NEW_S = 10.0
_ASK_S = 30.0
_FLUSH_S = 30.0


class KafkaHome:
    """Topics of one cluster. *bounded*: their ends are those at the start."""

    def __init__(self, bootstrap: str, registry: str | None, topic_prefix: str, *, bounded: bool) -> None:
        if registry is None:
            raise LogError(
                f"log kafka://{bootstrap} needs a schema registry; give --registry URL or set KAPPAWATT_REGISTRY"
            )
        self._log = KafkaLog(bootstrap, registry, topic_prefix)
        self._registry = Registry(registry, topic_prefix=topic_prefix)
        self._bounded = bounded
        self._counts = _Counts(self._log)

    def __repr__(self) -> str:
        return f"<KafkaHome {self._log!r}>"

    def check(self) -> None:
        """Brokers answer, the registry answers, topics are there, and `sample` has a multiple of the buckets."""
        count = self._log.partition_count("sample")
        if count % len(BUCKETS):
            name, more = self._log.name("sample"), -(-count // len(BUCKETS)) * len(BUCKETS)
            raise LogError(
                f"topic {name} has {count} partitions, the flow needs a multiple of {len(BUCKETS)}; "
                f"`kafka-topics --alter --topic {name} --partitions {more}`"
            )
        for topic in ("intensity", "run_event", "dead_letter"):
            self._log.partition_count(topic)
        why = self._registry.check("sample")
        if why is not None:
            raise LogError(f"the registry holds another schema of topic sample than this flow: {why}")

    def missing_beginnings(self) -> list[str]:
        """Partitions whose oldest offset is not 0: retention, or somebody, removed what was before."""
        topic = self._log.name("sample")
        consumer = self._log.open_consumer(lambda failure: None)
        try:
            oldest = [self._log.watermarks(consumer, topic, p)[0] for p in range(self._log.partition_count("sample"))]
        finally:
            consumer.close()
        return [f"{topic}/{p} begins at offset {offset}" for p, offset in enumerate(oldest) if offset > 0]

    def bucket(self, bucket: str, positions: Any) -> Reader:
        """Partitions p of topic `sample` with p mod 16 = the bucket's number."""
        number = BUCKETS.index(bucket)
        return self._reader("sample", lambda p: p % len(BUCKETS) == number, positions)

    def topic(self, topic: str, positions: Any) -> Reader:
        """All partitions of a topic."""
        return self._reader(topic, lambda _: True, positions)

    def letters(self) -> DeadLetters:
        """Topic `dead_letter`."""
        return KafkaLetters(self._log, self._registry)

    def schemas(self) -> Callable[[int], Mapping[str, Any] | None]:
        """Writer schemas by registry id."""
        return self._registry.schema_for

    def _reader(self, topic: str, mine: Callable[[int], bool], positions: Any) -> Reader:
        def count() -> int:
            return self._counts.of(topic)

        return KafkaReader(self._log, topic, mine, positions, count, bounded=self._bounded)


class _Counts:
    """Partition counts, asked for from a thread: an answer can take seconds while brokers are away."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self._known: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<_Counts {self._known}>"

    def of(self, topic: str) -> int:
        """The count as last heard; asks at once for a topic that was never asked for.

        Raises:
            LogError: The first question is not answered.
        """
        if topic not in self._known:
            if not self._known:
                threading.Thread(target=self._ask, name="partitions", daemon=True).start()
            self._known[topic] = self._log.partition_count(topic)
        return self._known[topic]

    def _ask(self) -> None:
        while True:
            time.sleep(_ASK_S)
            for topic in list(self._known):
                try:
                    self._known[topic] = self._log.partition_count(topic)
                except LogError as error:
                    _LOGGER.debug("partition count of %s not known: %s", topic, error)


class KafkaReader:
    """Some partitions of one topic through one consumer; partitions that are added later are picked up."""

    def __init__(
        self,
        log: KafkaLog,
        topic: str,
        mine: Callable[[int], bool],
        positions: Mapping[int, int] | None,
        count: Callable[[], int],
        *,
        bounded: bool,
    ) -> None:
        self._log, self._topic, self._mine, self._count = log, topic, mine, count
        self._bounded = bounded
        self._looked = time.monotonic()
        self._consumer = self._open(dict(positions or {}))
        self._end = self._consumer.end_offsets() if bounded else {}

    def __repr__(self) -> str:
        return f"<KafkaReader {self._consumer!r}>"

    def partitions(self) -> list[str]:
        """Source partitions known by now."""
        return [f"{self._topic}/{partition}" for partition in self._consumer.partitions]

    def poll(self, prefer: Callable[[str], int]) -> list[Batch]:
        """What the client has fetched; *prefer* has no say within one consumer."""
        if not self._bounded and time.monotonic() - self._looked > _LOOK_FOR_NEW_S:
            self._look()
        found = self._consumer.poll(_MESSAGES)
        if found is None:
            return []
        positions = self._consumer.positions()
        numbers = set(np.unique(found.partition).tolist()) | {partition for partition, *_ in found.bad}
        return [self._batch(found, partition, positions[partition]) for partition in sorted(numbers)]

    def at_end(self, partition: str) -> bool:
        """Whether all was read that was there at the last look (bounded: at the start)."""
        number = int(partition.partition("/")[2])
        if self._bounded:
            return self._consumer.positions()[number] >= self._end[number]
        return self._consumer.at_end(number)

    def dump(self) -> Any:
        """Next offset by partition."""
        return self._consumer.positions()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _open(self, positions: Mapping[int, int]) -> BucketConsumer:
        return self._log.consumer(self._topic, [p for p in range(self._count()) if self._mine(p)], positions)

    def _look(self) -> None:
        self._looked = time.monotonic()
        count = self._count()
        if all(p in self._consumer.partitions for p in range(count) if self._mine(p)):
            return
        positions = self._consumer.positions()
        self._consumer.close()
        self._consumer = self._open(positions)

    def _batch(self, found: KafkaBatch, partition: int, after: int) -> Batch:
        source = f"{self._topic}/{partition}"
        rows = np.flatnonzero(found.partition == partition)
        broken = [
            DeadLetter(
                source=source, position=str(offset), verdict="dead", reason=reason, schema_id=None, payload=value or b""
            )
            for number, offset, value, reason in found.bad
            if number == partition
        ]
        raw = RawBatch(found.buffer, found.start[rows], found.end[rows], found.schema_id[rows])
        return Batch(source, raw, Positions("", found.offset[rows]), found.timestamp_us[rows], str(after), broken)


class KafkaLetters:
    """Dead letters on topic `dead_letter`, keyed by source position: a repeat after a crash has the same key."""

    def __init__(self, log: KafkaLog, registry: Registry) -> None:
        self._log, self._registry = log, registry
        self._producer: Any = None
        self._schema_id = 0
        self._failed: Failure | None = None

    def __repr__(self) -> str:
        return f"<KafkaLetters {self._log!r}>"

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Hand over to the client."""
        if self._producer is None:
            self._schema_id = self._registry.register("dead_letter")
            self._producer = self._log.producer()
        for letter in letters:
            key = f"{letter.source}@{letter.position}".encode()
            value = codec.frame(self._schema_id, letter_datum(letter))
            while not self._producer.send("dead_letter", key, value, self._done):
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Return when all copies have all letters.

        Raises:
            LogError: Kafka refuses them, or does not answer in time.
        """
        deadline = time.monotonic() + _FLUSH_S
        while self._producer is not None and self._producer.pending:
            self._producer.poll(0.1)
            if time.monotonic() > deadline:
                raise LogError(f"dead letters do not reach {self._log!r} within {_FLUSH_S:.0f} s")
        if self._failed is not None:
            raise LogError(f"a dead letter was refused: {self._failed.text}")

    def _done(self, failure: Failure | None) -> None:
        self._failed = failure or self._failed
