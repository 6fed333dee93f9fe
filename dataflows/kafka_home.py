"""Kafka as the flow's log: buckets of partitions, control topics, dead letters, writer schemas from the registry."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kappawatt.emissions.names import BUCKETS
from kappawatt.emissions.reading import Batch, Positions, Reader
from kappawatt.errors import LogError
from kappawatt.log.bucket_consumer import BucketConsumer, Gap, KafkaBatch
from kappawatt.log.kafka import APPENDED, KafkaLog
from kappawatt.wire.columns import RawBatch
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.registry import Registry

from .kafka_letters import KafkaLetters
from .patience import Patience
from .process import WATCHDOG
from .sinks import DeadLetters

_LOGGER = logging.getLogger("kappawatt.flow")
_FEWEST, _MOST = 1_000, 12_000  # messages a batch
_BATCH_BYTES = 2 << 20  # what is decoded at once: more leaves the caches, less is all calls
_LOOK_FOR_NEW_S = 10.0
_ASK_S = 30.0


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
        for topic in ("sample", "intensity", "run_event"):
            self._check_times(self._log.name(topic), self._log.timestamp_type(topic))

    def _check_times(self, name: str, found: str | None) -> None:
        """Records must carry the broker's time: a writer's own clock is no measure for what is ahead of it."""
        if found is None:
            _LOGGER.warning(
                "topic %s: not allowed to see its settings; message.timestamp.type must be %s", name, APPENDED
            )
        elif found != APPENDED:
            raise LogError(
                f"topic {name} has message.timestamp.type={found}, the flow needs {APPENDED}; "
                f"`kafka-configs --alter --topic {name} --add-config message.timestamp.type={APPENDED}`"
            )

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
        patience = Patience("asking for a writer's schema")
        return lambda schema_id: patience.ask(lambda: self._registry.schema_for(schema_id))

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
        self._messages = _FEWEST
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
        found = self._consumer.poll(self._messages)
        if found is not None and len(found):
            self._messages = min(max(_BATCH_BYTES * len(found) // int(found.end[-1]), _FEWEST), _MOST)
        positions = self._consumer.positions()
        gone = [_gone(self._topic, gap, positions[gap.partition]) for gap in self._consumer.take_gaps()]
        return gone + self._batches(found, positions)

    def _batches(self, found: KafkaBatch | None, positions: Mapping[int, int]) -> list[Batch]:
        if found is None:
            return []
        numbers = set(np.unique(found.partition).tolist()) | {partition for partition, *_ in found.bad}
        return [self._batch(found, partition, positions[partition]) for partition in sorted(numbers)]

    def at_end(self, partition: str) -> bool:
        """Whether all was read that was there at the last look (bounded: at the start)."""
        number = int(partition.partition("/")[2])
        if self._bounded:
            return self._consumer.positions()[number] >= self._end[number]
        return self._consumer.at_end(number)

    def behind(self) -> dict[str, int]:
        """Records that are not read yet, by partition, as far as the client has heard."""
        return {f"{self._topic}/{partition}": count for partition, count in self._consumer.behind().items()}

    def dump(self) -> Any:
        """Next offset by partition."""
        return self._consumer.positions()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _open(self, positions: Mapping[int, int]) -> BucketConsumer:
        mine = [p for p in range(self._count()) if self._mine(p)]
        # From 0 and not from the oldest: what the topic has dropped before is a gap to be told of.
        return self._log.consumer(self._topic, mine, {p: positions.get(p, 0) for p in mine})

    def _look(self) -> None:
        self._looked = time.monotonic()
        count = self._count()
        if all(p in self._consumer.partitions for p in range(count) if self._mine(p)):
            return
        try:
            with WATCHDOG.waiting():
                wider = self._open(self._consumer.positions())
        except LogError as error:
            _LOGGER.warning("new partitions of %s cannot be read yet: %s", self._topic, error)
            return
        self._consumer.close()
        self._consumer = wider

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


def _gone(topic: str, gap: Gap, after: int) -> Batch:
    """No records, and a letter that names those that the topic no longer has."""
    source = f"{topic}/{gap.partition}"
    kept = gap.resumed > gap.wanted
    letter = DeadLetter(
        source=source,
        position=f"{gap.wanted}-{gap.resumed - 1}" if kept else str(gap.wanted),
        verdict="gone",
        reason="retention" if kept else "made_anew",
        payload=b"",
    )
    none = np.empty(0, np.int64)
    raw = RawBatch(b"", none, none, none.astype(np.int32))
    return Batch(source, raw, Positions("", none), none, str(after), [], [letter])
