"""The ceiling: consume and `value()` of the same bytes with the product's client settings, and nothing else."""

import os
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition

BATCH = 256


def settings() -> dict[str, object]:
    """As in kappawatt/log/kafka.py, in one consumer for all partitions."""
    return {
        "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
        "group.id": os.environ["BENCH_GROUP"],
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 50,
        "fetch.message.max.bytes": 4 << 20,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 65_536,
        "check.crcs": False,
    }


def read(topic: str) -> int:
    """Bytes of all messages up to the ends of the partitions."""
    consumer = Consumer(settings())
    partitions = list(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    left, size = len(partitions), 0
    while left:
        for message in consumer.consume(BATCH, 1.0):
            error = message.error()
            if error is None:
                size += len(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                left -= 1
            else:
                raise SystemExit(str(error))
    consumer.close()
    return size


def main() -> None:
    for number in range(1, int(os.environ["BENCH_PASSES"]) + 1):
        print(f"BENCH start {number}", flush=True)
        size = read(os.environ["BENCH_SAMPLES"])
        print(f"BENCH end {number}", flush=True)
        print(f"{size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
