"""The servers, and what the harness does with topics of Kafka."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kappawatt.wire.registry import Registry

from .shape import PARTITIONS

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ROOT / "tests" / "stack" / "servers.py"
OUTPUT_PARTITIONS = 4
APPENDED = {"message.timestamp.type": "LogAppendTime"}


class BenchError(Exception):
    """What is wrong and what to do, in words for a person."""


@contextmanager
def servers(*, keep: bool) -> Iterator["Cluster"]:
    """Kafka and the registry; what this call started is stopped again, with its data, unless it is to be kept."""
    running = subprocess.run([sys.executable, SERVERS, "status"], capture_output=True, text=True, check=False).stdout
    mine = "answers" not in running
    try:
        for name in ("kafka", "registry"):
            subprocess.run([sys.executable, SERVERS, "start", name], check=True)
        env = dict(line.split("=", 1) for line in (ROOT / ".stack" / "env").read_text().splitlines())
        yield Cluster(env["KAPPAWATT_TEST_KAFKA"], env["KAPPAWATT_TEST_REGISTRY"])
    finally:
        if mine and not keep:
            subprocess.run([sys.executable, SERVERS, "down"], check=False)


class Cluster:
    """A broker and its registry."""

    def __init__(self, bootstrap: str, registry: str) -> None:
        self.bootstrap, self.registry = bootstrap, registry
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def __repr__(self) -> str:
        return f"<Cluster {self.bootstrap}>"

    def make_inputs(self, prefix: str) -> dict[str, int]:
        """The topics of one log, empty; schema ids of what is written to them."""
        others = ("intensity", "run_event", "dead_letter", "alert")
        self.make({f"{prefix}sample": PARTITIONS} | {f"{prefix}{topic}": 1 for topic in others})
        registry = Registry(self.registry, topic_prefix=prefix)
        return {topic: registry.register(topic) for topic in ("sample", *others)}

    def make(self, counts: dict[str, int]) -> None:
        """Topics with so many partitions, anew."""
        self.remove(list(counts))
        new = [NewTopic(name, count, 1, config=APPENDED) for name, count in counts.items()]
        for made in self.admin.create_topics(new, operation_timeout=30).values():
            made.result(timeout=30)

    def remove(self, names: list[str]) -> None:
        """Topics with all that is in them, if they are there."""
        there = self.admin.list_topics(timeout=30).topics
        names = [name for name in names if name in there]
        if names:
            for gone in self.admin.delete_topics(names, operation_timeout=30).values():
                gone.result(timeout=30)

    def ends(self, topic: str) -> list[int]:
        """The end offset of each partition; none if there is no such topic."""
        found = self.admin.list_topics(timeout=30).topics.get(topic)
        if found is None:
            return []
        consumer = self._consumer()
        try:
            return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in found.partitions]
        finally:
            consumer.close()

    def messages(self, topic: str) -> Iterator[Message]:
        """All that is in a topic now, partition by partition in order."""
        ends = self.ends(topic)
        left = {partition for partition, end in enumerate(ends) if end}
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
            while left:
                for message in consumer.consume(10_000, 5):
                    if message.error():
                        if message.error().code() == KafkaError._PARTITION_EOF:
                            left.discard(message.partition())
                            continue
                        raise BenchError(f"topic {topic} cannot be read: {message.error()}")
                    yield message
        finally:
            consumer.close()

    def follow(self, topic: str) -> Callable[[], list[Message]]:
        """A function that gives what has come to a topic since its last call."""
        consumer = self._consumer()
        partitions = range(len(self.ends(topic)))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        done = [0 for _ in partitions]

        def more() -> list[Message]:
            ends, found = self.ends(topic), []
            while any(at < end for at, end in zip(done, ends, strict=True)):
                for message in consumer.consume(10_000, 1):
                    if message.error() is None:
                        found.append(message)
                        done[message.partition()] = message.offset() + 1
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        done[message.partition()] = message.offset()
            return found

        return more

    def _consumer(self) -> Consumer:
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "kappawatt-bench", "enable.partition.eof": True}
        return Consumer(settings | {"enable.auto.commit": False, "fetch.queue.backoff.ms": 5})


class Answer:
    """What an engine has written by now: the last value of every key, and its counts."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, int] = {"duplicate": 0, "late": 0, "dead": 0}
        self.written = 0
        self._parts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Answer {len(self.rows)} rows, {self.counts}>"

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """A message of the output, in the order of its partition; no value: the row is taken back."""
        self.written += 1
        name = (key or b"").decode()
        if name.startswith("count|"):
            self._count(name, json.loads(value)["n"] if value else 0)
        elif not value:
            self.rows.pop(name, None)
        else:
            self.rows[name] = json.loads(value)

    def _count(self, name: str, number: int) -> None:
        kind = name.split("|", 2)[1]
        self.counts[kind] = self.counts.get(kind, 0) + number - self._parts.get(name, 0)
        self._parts[name] = number


def read_answer(cluster: Cluster, topic: str) -> Answer:
    """The compacted output."""
    last: dict[bytes, bytes | None] = {}
    written = 0
    for message in cluster.messages(topic):
        last[message.key() or b""] = message.value()
        written += 1
    answer = Answer()
    for key, value in last.items():
        answer.take(key, value)
    answer.written = written
    return answer
