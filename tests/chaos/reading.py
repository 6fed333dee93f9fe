"""A log read back from Kafka with a plain client and fastavro, for the oracle: it gets only what is really there."""

import io
import time
from collections.abc import Mapping
from typing import Any

import fastavro
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.oracle.model import Dead, Log, Record

Schemas = Mapping[int, Any]
"""Parsed writer schemas by registry id."""


def read_log(address: str, prefix: str, schemas: Schemas) -> Log:
    """Everything that is on the topics now, each partition in the order of its offsets."""
    log, append_us = Log(), {}
    for partition, messages in _topic(address, f"{prefix}sample").items():
        log.samples[str(partition)] = [decoded(message.value(), schemas) for message in messages]
        append_us[str(partition)] = [message.timestamp()[1] * 1_000 for message in messages]
        if messages:
            log.positions[str(partition)] = str(messages[-1].offset() + 1)
    log.append_us = append_us
    log.intensity = _records(address, f"{prefix}intensity", schemas)
    log.run_events = _records(address, f"{prefix}run_event", schemas)
    return log


def letters(address: str, prefix: str, schemas: Schemas) -> list[Record]:
    """All that is on topic dead_letter."""
    return _records(address, f"{prefix}dead_letter", schemas)


def decoded(value: bytes | None, schemas: Schemas) -> Record | Dead:
    """A record by its writer's schema, or why there is none."""
    if value is None or len(value) < 5 or value[0] != 0:
        return Dead("magic", {})
    schema = schemas.get(int.from_bytes(value[1:5], "big"))
    if schema is None:
        return Dead("unknown_schema", {})
    stream = io.BytesIO(value[5:])
    try:
        record: Record = fastavro.schemaless_reader(stream, schema)
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError):
        return Dead("undecodable", {})
    return Dead("trailing_bytes", {}) if stream.read(1) else record


def ends(address: str, topic: str) -> dict[int, tuple[int, int]]:
    """Oldest offset and one past the newest, by partition."""
    found: dict[int, tuple[int, int]] = {}
    consumer = _consumer(address)
    try:
        for partition in (
            AdminClient({"bootstrap.servers": address}).list_topics(topic, timeout=30).topics[topic].partitions
        ):
            found[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    finally:
        consumer.close()
    return found


def _topic(address: str, topic: str) -> dict[int, list[Any]]:
    """Messages by partition."""
    places = ends(address, topic)
    found: dict[int, list[Any]] = {partition: [] for partition in sorted(places)}
    waited_for = {partition for partition, (low, high) in places.items() if low < high}
    consumer, until = _consumer(address), time.monotonic() + 30
    try:
        consumer.assign([TopicPartition(topic, each, places[each][0]) for each in waited_for])
        while waited_for:
            # With a short limit: it waits for so many messages, or for all of it.
            messages = consumer.consume(1_000, 0.1)
            until = time.monotonic() + 30 if messages else until
            assert time.monotonic() < until, f"{topic}: nothing more came of partitions {waited_for}"
            for message in messages:
                assert message.error() is None, message.error()
                found[message.partition()].append(message)
                if message.offset() + 1 >= places[message.partition()][1]:
                    waited_for.discard(message.partition())
    finally:
        consumer.close()
    return found


def _records(address: str, topic: str, schemas: Schemas) -> list[Record]:
    values = [message.value() for messages in _topic(address, topic).values() for message in messages]
    found = [decoded(value, schemas) for value in values]
    return [record for record in found if not isinstance(record, Dead)]


def _consumer(address: str) -> Any:
    settings = {"bootstrap.servers": address, "group.id": "chaos", "enable.auto.commit": False}
    return Consumer({**settings, "auto.offset.reset": "error"})
