"""What was not counted, as the log lists it: dead letters out of files or Kafka, each once. Reading leaves no trace."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kappawatt.errors import LogError
from kappawatt.log import urls
from kappawatt.log.files import FileLog
from kappawatt.settings import Settings
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.resolution import TopicReader

TOPIC = "dead_letter"
CUT_BYTES = 900_000
"""A letter holds so much of its record at most."""

_MAX_BYTES = 33 << 20  # a letter in a file of earlier versions is as long as the block it tells of
_HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and when it was listed, µs (in files: when its file was last written)."""

    listed_us: int
    record: DeadLetter

    @property
    def key(self) -> tuple[str, str]:
        """What it is about; after a crash a letter is listed again."""
        return self.record.source, self.record.position


@dataclass(slots=True)
class Listing:
    """The newest letters, payloads cut to their beginning, and counts over all that were asked for."""

    letters: list[Letter]
    sizes: list[int]
    """Bytes of each payload."""
    by_reason: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    unreadable: int = 0
    """Records of the topic that are no dead letters."""


class LetterBox:
    """The dead letters of the log at *url*, `file:DIR` or `kafka://…`. Nothing is committed or changed by reading.

    Args:
        settings: Which log, registry and topic prefix.

    Raises:
        LogError: The log cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = urls.parse(settings.log)
        if isinstance(self._place, urls.KafkaUrl) and not settings.registry:
            raise LogError(f"log {settings.log} needs a schema registry; give --registry URL or set KAPPAWATT_REGISTRY")
        self._schemas = _no_schema if isinstance(self._place, urls.FileUrl) else self._registry()

    def __repr__(self) -> str:
        return f"<LetterBox {self._settings.log}>"

    def listing(self, wanted: Callable[[Letter], bool], limit: int) -> Listing:
        """The newest *limit* letters that are *wanted*; memory is bounded but for 100 bytes a letter."""
        seen: set[bytes] = set()
        newest: list[tuple[int, int, Letter, int]] = []
        found = Listing([], [])
        for number, letter in enumerate(self._all()):
            if letter is None:
                found.unreadable += 1
                continue
            if not wanted(letter):
                continue
            digest = hashlib.blake2b(repr(letter.key).encode(), digest_size=12).digest()
            if digest in seen:
                found.repeats += 1
                continue
            seen.add(digest)
            found.by_reason[letter.record.reason] += 1
            heapq.heappush(newest, (letter.listed_us, number, _short(letter), len(letter.record.payload)))
            if len(newest) > limit:
                heapq.heappop(newest)
        newest.sort(key=lambda each: (-each[0], -each[1]))
        found.letters, found.sizes = [each[2] for each in newest], [each[3] for each in newest]
        return found

    def find(self, source: str, position: str) -> Letter | None:
        """The letter about that place; None if there is none."""
        return next((each for each in self._all() if each is not None and each.key == (source, position)), None)

    def decoded(self, letter: DeadLetter) -> dict[str, Any] | str:
        """The record that the letter is about, or the reason why its bytes are none."""
        topic = letter.source.partition("/")[0]
        if topic not in ("sample", "intensity", "run_event"):
            return f"topic {topic} is none that the flow reads"
        return TopicReader(topic, self._schemas, max_bytes=_MAX_BYTES).read(letter.schema_id or 0, letter.payload)

    def _all(self) -> Iterator[Letter | None]:
        """All letters, oldest first within a partition; None for what is none."""
        read = TopicReader(TOPIC, self._schemas, max_bytes=_MAX_BYTES)
        raw = self._in_files() if isinstance(self._place, urls.FileUrl) else self._in_kafka(self._place)
        for listed_us, schema_id, datum in raw:
            record = "undecodable" if datum is None else read.read(schema_id, datum)
            yield None if isinstance(record, str) else Letter(listed_us, DeadLetter.from_avro(record))

    def _in_files(self) -> Iterator[tuple[int, int, bytes | None]]:
        assert isinstance(self._place, urls.FileUrl)
        log = FileLog(self._place.directory)
        for name in log.partitions(TOPIC):
            with closing(log.partition(TOPIC, name)) as partition:
                position = None
                while True:
                    chunk = partition.read(position)
                    for start, end in zip(chunk.start.tolist(), chunk.end.tolist(), strict=True):
                        yield chunk.mtime_us, 0, chunk.buffer[start:end]
                    yield from ((chunk.mtime_us, 0, None) for _ in chunk.bad)
                    if chunk.at_end:
                        break
                    position = chunk.next

    def _in_kafka(self, place: urls.KafkaUrl) -> Iterator[tuple[int, int, bytes | None]]:
        """What lies on the topic now; a consumer without a group that commits, so nobody's place moves."""
        from kappawatt.log.kafka import KafkaLog

        log = KafkaLog(place.bootstrap, self._settings.registry, self._settings.topic_prefix)
        partitions = range(log.partition_count(TOPIC))
        with closing(log.consumer(TOPIC, partitions, {})) as consumer:
            ends = consumer.end_offsets()
            for batch in consumer.until(ends):
                bounds = zip(batch.start.tolist(), batch.end.tolist(), batch.schema_id.tolist(), strict=True)
                for (start, end, schema_id), at in zip(bounds, batch.timestamp_us.tolist(), strict=True):
                    yield at, schema_id, batch.buffer[start:end]
                yield from ((0, 0, None) for _ in batch.bad)

    def _registry(self) -> Callable[[int], Mapping[str, Any] | None]:
        from kappawatt.wire.registry import Registry

        registry = Registry(self._settings.registry or "", topic_prefix=self._settings.topic_prefix)
        return registry.schema_for


def _no_schema(schema_id: int) -> None:
    return None


def _short(letter: Letter) -> Letter:
    record = letter.record
    payload = record.payload[:_HEAD_BYTES]
    kept = DeadLetter(
        source=record.source,
        position=record.position,
        verdict=record.verdict,
        reason=record.reason,
        schema_id=record.schema_id,
        payload=payload,
    )
    return Letter(letter.listed_us, kept)
