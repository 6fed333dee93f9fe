"""A log of records put where the product reads it: a folder of Avro container files, or Kafka.

Files look as the product's spool writes them: one datum a block, names `PARTITION-NNNNNN.avro`. On Kafka the key of a
sample is its host and its partition crc32(key) mod n (librdkafka's `consistent`), chosen here explicitly so that the
oracle knows what is read where.
"""

import heapq
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro

from tests.oracle.model import Dead, Log, Parameters, Record
from tests.oracle.verdicts import judge

SCHEMAS = Path(__file__).resolve().parents[2] / "avro"
SYNC = bytes(range(0xA0, 0xB0))
UNKNOWN_SCHEMA = 0x7FFFFFF0


def schema_of(topic: str) -> Any:
    """The parsed schema of a topic, as committed under avro/."""
    return fastavro.parse_schema(json.loads((SCHEMAS / f"{topic}.avsc").read_text()))


def encode(schema: Any, record: Record | Dead) -> bytes:
    """A plain datum; that of a `Dead` is spoilt as its reason says (what spoils the frame comes later)."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record.record if isinstance(record, Dead) else record)
    datum = out.getvalue()
    if not isinstance(record, Dead):
        return datum
    # Half a record ends inside an array or a string, wherever the reader has got to.
    return {"undecodable": datum[: len(datum) // 2], "trailing_bytes": datum + b"\0\0"}.get(record.reason, datum)


def long_bytes(value: int) -> bytes:
    """An Avro long: zigzag, then 7 bits a byte, least first."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def block(datum: bytes) -> bytes:
    """A container block of one datum."""
    return b"\x02" + long_bytes(len(datum)) + datum + SYNC


def header(schema: Any) -> bytes:
    """The head of a container file."""
    out = io.BytesIO()
    fastavro.writer(out, schema, [], sync_marker=SYNC)
    return out.getvalue()


def write_files(log: Log, folder: Path, *, roll: int = 1_000_000) -> dict[str, str]:
    """Write a log as a file log, a new file every *roll* records, and give the end position of each sample partition.

    Positions are `NAME:BYTES`, as accounting has them once everything is read.
    """
    positions = {}
    schema = schema_of("sample")
    for partition, records in log.samples.items():
        if any(isinstance(record, Dead) and record.reason in ("magic", "unknown_schema") for record in records):
            raise ValueError(
                f"partition {partition}: a file log has no frames, so no data with a bad magic or schema id"
            )
        positions[partition] = _write_partition(folder / "sample", partition, schema, records, roll)
    for topic, others in (("intensity", log.intensity), ("run_event", log.run_events)):
        _write_partition(folder / topic, "all", schema_of(topic), others, roll)
    return positions


def _write_partition(folder: Path, name: str, schema: Any, records: Sequence[Record | Dead], roll: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    last = ""
    for number, first in enumerate(range(0, max(len(records), 1), roll)):
        path = folder / f"{name}-{number:06d}.avro"
        blocks = (block(encode(schema, record)) for record in records[first : first + roll])
        path.write_bytes(header(schema) + b"".join(blocks))
        last = f"{path.name}:{path.stat().st_size}"
    return last


def kafka_partition(key: bytes, partitions: int) -> int:
    """Where `publish` puts a key."""
    return zlib.crc32(key) % partitions


def on_kafka(log: Log, partitions: int) -> Log:
    """The log as it lies on Kafka: partitions are numbers, records of several hosts in one are merged by their ends.

    The order within each source partition stays; what is rejected or dead travels with what came before it.
    """
    streams: dict[int, list[Iterator[tuple[int, Record | Dead]]]] = {}
    verdicts = judge(log, Parameters())
    for name, records in log.samples.items():
        place = kafka_partition(key_of(name), partitions)
        counted = [verdict == "counted" for verdict, _ in verdicts.of[name]]
        streams.setdefault(place, []).append(_by_newest_end(records, counted))
    samples = {
        str(place): [record for _, record in heapq.merge(*streams[place], key=lambda pair: pair[0])]
        for place in sorted(streams)
    }
    positions = {place: str(len(records)) for place, records in samples.items()}
    times = None
    if log.append_us is not None:
        newest = max((time for of_one in log.append_us.values() for time in of_one), default=0)
        times = {place: [newest] * len(records) for place, records in samples.items()}
    return replace(log, samples=samples, positions=positions, append_us=times)


def key_of(partition: str) -> bytes:
    """The Kafka key of a file partition's samples: its host, before the first dot of the name."""
    return partition.split(".", 1)[0].encode()


def _by_newest_end(records: list[Record | Dead], counted: list[bool]) -> Iterator[tuple[int, Record | Dead]]:
    newest = 0
    for record, counts in zip(records, counted, strict=True):
        if counts and not isinstance(record, Dead):
            newest = max(newest, record["end"])
        yield newest, record


def frame(schema_id: int, datum: bytes) -> bytes:
    """The Confluent wire format."""
    return b"\0" + schema_id.to_bytes(4, "big") + datum


def publish(log: Log, bootstrap: str, topic_prefix: str, schema_ids: Mapping[str, int], partitions: int) -> Log:
    """Write a log to Kafka (its topics must exist and be empty) and give it back as it lies there.

    Args:
        schema_ids: Registry id of each topic's schema.
        partitions: Partition count of topic sample; other topics are left to the default partitioner.
    """
    import confluent_kafka

    there = on_kafka(log, partitions)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20})
    failures: list[str] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(str(error))

    def send(topic: str, value: bytes, **place: Any) -> None:
        while True:
            try:
                producer.produce(f"{topic_prefix}{topic}", value=value, on_delivery=delivered, **place)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    schema = schema_of("sample")
    for place, records in there.samples.items():
        for record in records:
            key = (record.record if isinstance(record, Dead) else record)["host"].encode()
            send("sample", _message(schema, record, schema_ids["sample"]), key=key, partition=int(place))
    for topic, key_name, others in (("intensity", "zone", log.intensity), ("run_event", "run_id", log.run_events)):
        schema = schema_of(topic)
        for record in others:
            send(topic, frame(schema_ids[topic], encode(schema, record)), key=record[key_name].encode())
    left = producer.flush(60)
    if left or failures:
        raise RuntimeError(f"{bootstrap}: {left} messages not delivered in 60 s, failures: {failures[:3]}")
    return there


def _message(schema: Any, record: Record | Dead, schema_id: int) -> bytes:
    reason = record.reason if isinstance(record, Dead) else ""
    message = frame(UNKNOWN_SCHEMA if reason == "unknown_schema" else schema_id, encode(schema, record))
    return b"\x01" + message[1:] if reason == "magic" else message
