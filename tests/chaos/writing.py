"""A log that grows while the flow reads it: a seeded script of messages, and the thread that sends them in time."""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import confluent_kafka

from tests.oracle.generate import Knobs, generate
from tests.oracle.model import SECOND, Dead, Log, Parameters, Record
from tests.oracle.verdicts import judge
from tests.oracle.write_log import UNKNOWN_SCHEMA, encode, frame, kafka_partition, on_kafka, schema_of

SLEEP_US = 300 * SECOND
"""Event time for which a sleeping partition is silent; with the disorder it stays well within the lateness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, and when it is sent: *at_us* is event time, mapped to the time that the script takes."""

    at_us: int
    topic: str
    key: bytes
    value: bytes
    identity: tuple[str, int] | None = None
    """Collector and seq of a sample; a repeat goes to the partition that the first one went to."""


def knobs(seed: int, *, ticks: int, hosts: int = 8) -> Knobs:
    """A live log: every case that the oracle's generator knows but intervals of minutes, which could come late."""
    return Knobs(seed=seed, hosts=hosts, runs=5, ticks=ticks, kafka_dead=True, slow=False)


def script(of: Knobs, ids: Mapping[str, int], partitions: int, *, asleep: Sequence[int] = ()) -> list[Message]:
    """The messages of a generated log in the order of sending.

    Samples come by event time, disordered and repeated as generated; partitions in *asleep* are silent for a third of
    the time, five minutes of event time at a stretch, and wake with what they held back. Prices come after their
    period, revisions anywhere; run events soon after they happen.
    """
    rng = random.Random(f"script {of.seed}")
    log = on_kafka(generate(of), partitions)
    messages = list(_samples(log, ids["sample"], set(asleep)))
    low, high = min(each.at_us for each in messages), max(each.at_us for each in messages)
    messages += _others(log, ids, rng, low, high)
    return sorted(messages, key=lambda each: each.at_us)


def _samples(log: Log, schema_id: int, asleep: set[int]) -> Iterator[Message]:
    schema = schema_of("sample")
    verdicts = judge(log, Parameters())
    for place, records in log.samples.items():
        newest = 0
        for record, (verdict, _) in zip(records, verdicts.of[place], strict=True):
            if verdict == "counted" and not isinstance(record, Dead):
                newest = max(newest, record["end"])
            sleeps = int(place) in asleep and newest // SLEEP_US % 3 == 1
            at_us = (newest // SLEEP_US + 1) * SLEEP_US if sleeps else newest or record_time(record)
            whole = record.record if isinstance(record, Dead) else record
            yield Message(
                at_us=at_us,
                topic="sample",
                key=whole["host"].encode(),
                value=_value(schema, record, schema_id),
                identity=None if isinstance(record, Dead) else (record["collector_id"], record["seq"]),
            )


def record_time(record: Record | Dead) -> int:
    """When a record claims to be from."""
    return int((record.record if isinstance(record, Dead) else record)["end"])


def _value(schema: Any, record: Record | Dead, schema_id: int) -> bytes:
    reason = record.reason if isinstance(record, Dead) else ""
    message = frame(UNKNOWN_SCHEMA if reason == "unknown_schema" else schema_id, encode(schema, record))
    return b"\x01" + message[1:] if reason == "magic" else message


def _others(log: Log, ids: Mapping[str, int], rng: random.Random, low: int, high: int) -> Iterator[Message]:
    for topic, key, time_of, records in (
        ("intensity", "zone", "valid_to", log.intensity),
        ("run_event", "run_id", "at", log.run_events),
    ):
        schema = schema_of(topic)
        for record in records:
            at_us = record[time_of] + rng.randrange(60 * SECOND)
            if not low <= at_us <= high or rng.random() < 0.3:
                at_us = rng.randint(low, high)
            value = frame(ids[topic], encode(schema, record))
            yield Message(at_us=at_us, topic=topic, key=record[key].encode(), value=value)


class Writer(threading.Thread):
    """Sends a script in *duration_s*; a broker that is away is waited for, nothing is lost and order is kept."""

    def __init__(
        self, messages: Sequence[Message], address: str, prefix: str, partitions: int, duration_s: float
    ) -> None:
        super().__init__(name="writer", daemon=True)
        self.partitions = partitions
        """Of topic sample; may be raised while it writes."""
        self.sent = 0
        self.error: BaseException | None = None
        self._messages, self._prefix, self._duration_s = messages, prefix, duration_s
        self._places: dict[tuple[str, int], int] = {}
        self._hurry, self._end = threading.Event(), threading.Event()
        settings = {"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 20, "message.timeout.ms": 0}
        self._producer = confluent_kafka.Producer(
            {**settings, "log_level": 0, "topic.metadata.refresh.interval.ms": 2_000}
        )

    def __enter__(self) -> "Writer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(30)

    @property
    def share(self) -> float:
        """How much of the script is sent, from 0 to 1."""
        return self.sent / len(self._messages)

    def run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:  # told by `finish`
            self.error = error

    def finish(self, limit_s: float = 120) -> None:
        """Send the rest at once, and return when all of it is on the broker."""
        self._hurry.set()
        self.join(limit_s)
        assert not self.is_alive(), f"{len(self._messages) - self.sent} messages not sent in {limit_s:.0f} s"
        if self.error is not None:
            raise self.error
        assert self._producer.flush(limit_s) == 0

    def wait(self, share: float, limit_s: float = 300) -> None:
        """Return when so much of the script is sent."""
        until = time.monotonic() + limit_s
        while self.share < share and self.is_alive():
            assert time.monotonic() < until, f"{self.share:.0%} of the script sent in {limit_s:.0f} s"
            time.sleep(0.05)

    def _send_all(self) -> None:
        began = time.monotonic()
        first, last = self._messages[0].at_us, self._messages[-1].at_us
        for message in self._messages:
            due = began + (message.at_us - first) / max(1, last - first) * self._duration_s
            while (wait_s := due - time.monotonic()) > 0 and not self._hurry.is_set() and not self._end.is_set():
                self._producer.poll(min(wait_s, 0.05))
            if self._end.is_set():
                return
            self._send(message)
            self.sent += 1

    def _send(self, message: Message) -> None:
        place = {}
        if message.topic == "sample":
            partition = kafka_partition(message.key, self.partitions)
            if message.identity is not None:
                partition = self._places.setdefault(message.identity, partition)
            place = {"partition": partition}
        while True:
            try:
                self._producer.produce(f"{self._prefix}{message.topic}", message.value, message.key, **place)
                break
            except BufferError:
                self._producer.poll(0.05)
            except confluent_kafka.KafkaException as error:
                if error.args[0].code() != confluent_kafka.KafkaError._UNKNOWN_PARTITION:
                    raise
                self._producer.poll(0.1)  # it was just made, the client hears of it in a moment
        self._producer.poll(0)


def shifted(messages: Sequence[Message], schema_id: int, since: float, of: int) -> list[Message]:
    """The same, samples of *since* of the script and later under another schema id than *of*."""
    head, new = frame(of, b""), frame(schema_id, b"")
    first = int(len(messages) * since)
    return [
        replace(each, value=new + each.value[5:])
        if number >= first and each.topic == "sample" and each.value.startswith(head)
        else each
        for number, each in enumerate(messages)
    ]
