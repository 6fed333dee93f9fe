"""Reading a real Kafka in columns: every message once, its place, and what is no message of ours."""

import time

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from kappawatt.errors import LogError
from kappawatt.log.bucket_consumer import BucketConsumer, Gap, KafkaBatch
from kappawatt.log.kafka import KafkaLog
from kappawatt.wire import codec

pytestmark = pytest.mark.stack


@pytest.fixture
def log(kafka_address: str, topic_prefix: str) -> KafkaLog:
    made = KafkaLog(kafka_address, None, topic_prefix, environ={})
    made.ensure_topics(4)
    return made


class Sender:
    """Messages to given partitions, as any client would send them."""

    def __init__(self, address: str) -> None:
        self._producer = Producer({"bootstrap.servers": address, "log_level": 2})

    def send(self, topic: str, partition: int, *values: bytes | None) -> None:
        for value in values:
            self._producer.produce(topic, value, partition=partition)
        assert self._producer.flush(30) == 0


@pytest.fixture
def sender(kafka_address: str) -> Sender:
    return Sender(kafka_address)


def drain(consumer: BucketConsumer, limit_s: float = 30) -> list[KafkaBatch]:
    batches, until = [], time.monotonic() + limit_s
    while time.monotonic() < until:
        batch = consumer.poll(1000)
        if batch is not None:
            batches.append(batch)
        elif all(consumer.at_end(partition) for partition in consumer.partitions):
            return batches
    raise AssertionError(f"{consumer} did not reach the end within {limit_s} s")


def await_datums(consumer: BucketConsumer, count: int, limit_s: float = 30) -> list[bytes]:
    found: list[bytes] = []
    until = time.monotonic() + limit_s
    while len(found) < count and time.monotonic() < until:
        batch = consumer.poll(10)
        found += [datum for *_, datum in payloads([batch])] if batch is not None else []
    return found


def payloads(batches: list[KafkaBatch]) -> list[tuple[int, int, int, bytes]]:
    return [
        (int(batch.partition[i]), int(batch.offset[i]), int(batch.schema_id[i]), batch.buffer[a:b])
        for batch in batches
        for i, (a, b) in enumerate(zip(batch.start, batch.end, strict=True))
    ]


def test_every_message_of_the_bucket_comes_once_with_its_place(log: KafkaLog, sender: Sender) -> None:
    for p in range(4):
        sender.send(log.name("sample"), p, *[codec.frame(70_000 + p, b"%d" % i) for i in range(p, 400, 4)])
    consumer = log.consumer("sample", [1, 3], {})

    found = payloads(drain(consumer))

    consumer.close()
    wanted = [(i % 4, i // 4, 70_000 + i % 4, b"%d" % i) for i in range(400) if i % 4 in (1, 3)]
    assert sorted(found) == sorted(wanted)
    assert [each for each in found if each[0] == 1] == [each for each in wanted if each[0] == 1]
    assert consumer.positions() == {1: 100, 3: 100}


def test_reading_goes_on_at_given_offsets(log: KafkaLog, sender: Sender) -> None:
    sender.send(log.name("sample"), 0, *[codec.frame(1, b"%d" % i) for i in range(10)])
    consumer = log.consumer("sample", [0, 1], {0: 7})

    found = payloads(drain(consumer))

    assert [each[3] for each in found] == [b"7", b"8", b"9"]
    assert consumer.end_offsets() == {0: 10, 1: 0}
    assert consumer.low_watermarks() == {0: 0, 1: 0}
    consumer.close()


def test_the_end_is_known_and_left_again_when_more_arrives(log: KafkaLog, sender: Sender) -> None:
    consumer = log.consumer("sample", [0], {})
    drain(consumer)
    sender.send(log.name("sample"), 0, codec.frame(1, b"late"))

    assert await_datums(consumer, 1) == [b"late"]
    assert drain(consumer) == []
    consumer.close()


def test_what_has_no_frame_is_listed_with_its_bytes(log: KafkaLog, sender: Sender) -> None:
    values = [None, b"", b"\0\0\0\0", b"\1\0\0\0\1x", codec.frame(5, b"good"), codec.frame(6, b""), b"\0\0\0\0"]
    sender.send(log.name("sample"), 2, *values)
    consumer = log.consumer("sample", [2], {})

    batches = drain(consumer)

    consumer.close()
    assert [each for batch in batches for each in batch.bad] == [
        (2, 0, None, "magic"),
        (2, 1, b"", "magic"),
        (2, 2, b"\0\0\0\0", "magic"),
        (2, 3, b"\1\0\0\0\1x", "magic"),
        (2, 6, b"\0\0\0\0", "magic"),
    ]
    assert payloads(batches) == [(2, 4, 5, b"good"), (2, 5, 6, b"")]


def test_times_are_the_brokers(log: KafkaLog, sender: Sender) -> None:
    before = time.time()
    sender.send(log.name("sample"), 0, codec.frame(1, b"x"))
    consumer = log.consumer("sample", [0], {})

    (batch,) = drain(consumer)

    consumer.close()
    assert before - 1 <= batch.timestamp_us[0] / 1e6 <= time.time() + 1


def test_offsets_that_are_gone_are_a_gap_and_not_silence(log: KafkaLog, kafka_address: str, sender: Sender) -> None:
    sender.send(log.name("sample"), 0, *[codec.frame(1, b"%d" % i) for i in range(10)])
    admin = AdminClient({"bootstrap.servers": kafka_address})
    for deleted in admin.delete_records([TopicPartition(log.name("sample"), 0, 6)]).values():
        deleted.result(timeout=30)
    consumer = log.consumer("sample", [0], {0: 2})

    found = payloads(drain(consumer))

    consumer.close()
    assert [each[3] for each in found] == [b"6", b"7", b"8", b"9"]
    assert consumer.take_gaps() == [Gap(0, 2, 6)]


def test_offsets_that_go_while_reading_are_a_gap_too(log: KafkaLog, kafka_address: str, sender: Sender) -> None:
    consumer = log.consumer("sample", [0, 1], {})
    drain(consumer)
    consumer._consumer.pause([TopicPartition(log.name("sample"), 0)])  # so that the broker is faster than the reader
    sender.send(log.name("sample"), 0, *[codec.frame(1, b"%d" % i) for i in range(10)])
    admin = AdminClient({"bootstrap.servers": kafka_address})
    for deleted in admin.delete_records([TopicPartition(log.name("sample"), 0, 6)]).values():
        deleted.result(timeout=30)
    consumer._consumer.resume([TopicPartition(log.name("sample"), 0)])

    found = await_datums(consumer, 4)

    consumer.close()
    assert found == [b"6", b"7", b"8", b"9"]
    assert consumer.take_gaps() == [Gap(0, 0, 6)]


def test_topics_are_made_once_and_left_as_they_are(log: KafkaLog) -> None:
    again = log.ensure_topics(8)

    assert again == dict.fromkeys(codec.TOPICS, 4)
    assert log.partition_count("sample") == 4
    assert log.retention_s("sample") == 21 * 86_400
    assert log.retention_s("intensity") is None


def test_more_partitions_are_seen(log: KafkaLog, kafka_address: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address})
    for grown in admin.create_partitions([NewPartitions(log.name("sample"), 8)]).values():
        grown.result(timeout=30)

    until = time.monotonic() + 30
    while log.partition_count("sample") != 8 and time.monotonic() < until:
        pass
    assert log.partition_count("sample") == 8


def test_a_missing_topic_is_an_error_with_a_remedy(kafka_address: str, topic_prefix: str) -> None:
    log = KafkaLog(kafka_address, None, topic_prefix, environ={})

    with pytest.raises(LogError, match=rf"no topic {topic_prefix}sample that.*schema register"):
        log.partition_count("sample")
    assert log.topics() == {}
