"""The door to Kafka: the one module that knows its client. Errors come out as ours, with the address and a remedy."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from kappawatt.errors import LogError
from kappawatt.log.failures import Failure, Trouble, remedy
from kappawatt.log.kafka_settings import client_settings, plain, scrubbed
from kappawatt.retry import Voice
from kappawatt.wire import codec

if TYPE_CHECKING:
    from kappawatt.log.bucket_consumer import BucketConsumer

PARTITIONS = 16
"""Partitions of a new topic: a multiple of the flow's buckets."""
KEEP_DAYS: Mapping[str, int | None] = {"sample": 21, "dead_letter": 90}
"""How long new topics keep records, longer than the flow's horizon; None or absent: for ever."""

APPENDED = "LogAppendTime"
"""The timestamp type that topics need: the broker's clock is what event times are compared with."""

_ANSWER_S = 5.0
_DAY_MS = 86_400_000


_TROUBLES = {
    KafkaError._PARTITION_EOF: Trouble.END,
    KafkaError._AUTO_OFFSET_RESET: Trouble.OFFSET,
    KafkaError.OFFSET_OUT_OF_RANGE: Trouble.OFFSET,
    KafkaError._AUTHENTICATION: Trouble.LOG_IN,
    KafkaError.SASL_AUTHENTICATION_FAILED: Trouble.LOG_IN,
    KafkaError._SSL: Trouble.UNTRUSTED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Trouble.REFUSED,
    KafkaError.GROUP_AUTHORIZATION_FAILED: Trouble.REFUSED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Trouble.REFUSED,
    KafkaError.UNKNOWN_TOPIC_OR_PART: Trouble.MISSING,
    KafkaError._UNKNOWN_TOPIC: Trouble.MISSING,
    KafkaError._UNKNOWN_PARTITION: Trouble.MISSING,
    KafkaError.MSG_SIZE_TOO_LARGE: Trouble.TOO_LARGE,
}

_MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
"""A partition that was just made or is being moved to another broker says so for a moment."""


class KafkaLog:
    """The log in the Kafka cluster at *bootstrap*; nothing is opened before it is needed.

    Args:
        bootstrap: `HOST:PORT[,HOST:PORT…]`.
        registry: URL of the schema registry; needed by who writes.
        topic_prefix: Put before every topic name.
        environ: Where TLS and SASL settings come from; default: this process's.
    """

    def __init__(
        self,
        bootstrap: str,
        registry: str | None = None,
        topic_prefix: str = "",
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.registry = registry
        self.topic_prefix = topic_prefix
        self._client = client_settings(os.environ if environ is None else environ)
        self.voice = Voice()
        """Of all who read it: that it is away is said once, not by each."""
        self._trouble: Failure | None = None
        self._admin_client: Any = None

    def name(self, topic: str) -> str:
        """The name of *topic* in the cluster."""
        return self.topic_prefix + topic

    def check(self, timeout_s: float = _ANSWER_S) -> None:
        """Return if a broker answers.

        Raises:
            LogError: None does within *timeout_s*; the message has the address, what happened, and what to do.
        """
        self._list(timeout_s)

    def topics(self) -> dict[str, int]:
        """Partitions of each of our topics that exists."""
        found = self._list(_ANSWER_S)
        return {topic: found[self.name(topic)] for topic in codec.TOPICS if self.name(topic) in found}

    def partition_count(self, topic: str) -> int:
        """How many partitions *topic* has now.

        Raises:
            LogError: There is no such topic, or no broker.
        """
        count = self._list(_ANSWER_S).get(self.name(topic))
        if count is None:
            raise LogError(
                f"Kafka at {self.bootstrap} has no topic {self.name(topic)} that this user may see; `kappawatt schema "
                "register` makes the topics, `kappawatt rights kafka` tells who may what; or correct the topic prefix"
            )
        return count

    def ensure_topics(
        self, partitions: int = PARTITIONS, *, replication: int = -1, needed: Iterable[str] = codec.TOPICS
    ) -> dict[str, int]:
        """Make all topics that are missing if one of *needed* is; what exists stays as it is. Partitions of each.

        Broker's append time is asked for, since the flow compares it with event times.

        Args:
            partitions: Of a new topic; a multiple of the flow's buckets.
            replication: Copies of each record; -1: the cluster's default.
            needed: Topics that the caller uses; others it may not even see.
        """
        existing = self.topics()
        if all(topic in existing for topic in needed):
            return existing
        new = [
            NewTopic(self.name(topic), partitions, replication, config=_topic_config(topic))
            for topic in codec.TOPICS
            if topic not in existing
        ]
        for topic, made in self._admin().create_topics(new, operation_timeout=30).items():
            try:
                made.result(timeout=30)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._error(f"make topic {topic}", error) from error
        return self._await_topics([topic for topic in codec.TOPICS if topic not in existing])

    def retention_s(self, topic: str) -> float | None:
        """How long *topic* keeps records, seconds; None: for ever."""
        milliseconds = int(self._config(topic)["retention.ms"].value)
        return None if milliseconds < 0 else milliseconds / 1000

    def timestamp_type(self, topic: str) -> str | None:
        """Whose clock stamps the records of *topic*: `LogAppendTime` or `CreateTime`; None: we may not ask.

        Raises:
            LogError: There is no such topic, or no broker.
        """
        try:
            return str(self._config(topic)["message.timestamp.type"].value)
        except LogError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and self.failure(cause.args[0]).trouble is Trouble.REFUSED:
                return None
            raise

    def _config(self, topic: str) -> Any:
        """The settings of *topic* by their names."""
        resource = ConfigResource(ResourceType.TOPIC, self.name(topic))
        try:
            return self._admin().describe_configs([resource], request_timeout=10)[resource].result(timeout=15)
        except KafkaException as error:
            raise self._error(f"describe topic {self.name(topic)}", error) from error

    def producer(self) -> "KafkaProducer":
        """A producer that keeps order, repeats nothing within its life, and never lets a record time out."""
        try:
            return KafkaProducer(self)
        except KafkaException as error:
            raise self._error("set the client up", error) from error

    def consumer(self, topic: str, partitions: Sequence[int], offsets: Mapping[int, int]) -> "BucketConsumer":
        """A reader of *partitions* of *topic* from *offsets* on; a partition without one is read from its beginning."""
        from kappawatt.log.bucket_consumer import BucketConsumer

        return BucketConsumer(self, topic, partitions, offsets)

    def open_consumer(self, on_error: Callable[[Failure], None]) -> Any:
        """The client's own consumer, for `BucketConsumer`."""
        settings = {
            **self.base_settings(on_error),
            "group.id": "kappawatt",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",  # a gap is reported, never jumped over in silence
            "fetch.queue.backoff.ms": 5,
            "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 4 << 20,
            "queued.min.messages": 100_000,
            "queued.max.messages.kbytes": 2_048,  # of each of 16 buckets: what is fetched ahead is most of the memory
            "check.crcs": False,
        }
        try:
            return Consumer(settings)
        except KafkaException as error:
            raise self._error("set the client up", error) from error

    @staticmethod
    def known_end(consumer: Any, topic: str, partition: int) -> int | None:
        """One past the newest offset of a partition, as the client heard last; None if it has not heard yet."""
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return int(high) if high >= 0 else None

    def watermarks(self, consumer: Any, topic: str, partition: int) -> tuple[int, int]:
        """Oldest offset and one past the newest of a partition (*topic* with prefix), asked of the broker now."""
        place = TopicPartition(topic, partition)
        until = time.monotonic() + 2 * _ANSWER_S
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=2 * _ANSWER_S, cached=False)
                return low, high
            except KafkaException as error:
                if error.args[0].code() in _MOVING and time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                self.check()
                raise self._error(f"tell the offsets of {topic} partition {partition}", error) from error

    def base_settings(self, on_error: Callable[[Failure], None]) -> dict[str, Any]:
        """What producers, consumers and admins share."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "kappawatt",
            "log_level": 2,  # what matters of it comes through error_cb, once and in our words
            "error_cb": lambda error: on_error(self.failure(error)),
            **self._client,
        }

    def failure(self, error: Any) -> Failure:
        """The client's *error* in our words."""
        trouble = Trouble.FATAL if error.fatal() else _TROUBLES.get(error.code(), Trouble.RETRY)
        text = plain(error.str()) if error.code() != KafkaError._ALL_BROKERS_DOWN else "no broker answers"
        return Failure(trouble, f"Kafka at {self.bootstrap}: {scrubbed(text, self._client)}; {remedy(trouble)}")

    def _admin(self) -> Any:
        if self._admin_client is None:
            try:
                self._admin_client = AdminClient(self.base_settings(self._remember))
            except KafkaException as error:
                raise self._error("set the client up", error) from error
        return self._admin_client

    def _list(self, timeout_s: float) -> dict[str, int]:
        # The whole list: asking for one topic by name would make it on a cluster that makes topics by itself.
        self._trouble = None
        admin = self._admin()
        try:
            found = admin.list_topics(timeout=timeout_s).topics
        except KafkaException as error:
            admin.poll(0)
            seen = self._trouble
            if seen is not None:
                raise LogError(seen.text) from error
            raise self._error(f"answer within {timeout_s:g} s", error) from error
        return {name: len(about.partitions) for name, about in found.items()}

    def _await_topics(self, made: Sequence[str]) -> dict[str, int]:
        for _ in range(100):
            existing = self.topics()
            if all(topic in existing for topic in made):
                return existing
            time.sleep(0.1)
        raise LogError(f"Kafka at {self.bootstrap} made topics and does not show them; look at its log")

    def _remember(self, failure: Failure) -> None:
        self._trouble = failure

    def _error(self, asked: str, error: Any) -> LogError:
        cause = error.args[0]
        return LogError(
            f"Kafka at {self.bootstrap} was asked to {asked}: {scrubbed(cause.str(), self._client)}; "
            + remedy(_TROUBLES.get(cause.code(), Trouble.RETRY))
        )

    def __repr__(self) -> str:
        return f"<KafkaLog {self.bootstrap} prefix {self.topic_prefix!r}>"


class KafkaProducer:
    """Sends records; `done` of each is called from `poll`, with None when all copies have it, else with the failure."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.failure: Failure | None = None
        """What went wrong last with the connection; the client itself goes on trying."""
        self._producer = Producer(
            {
                **log.base_settings(self._remember),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 50,
                "message.timeout.ms": 0,  # never: the record is in the spool and must arrive
                "queue.buffering.max.messages": 20_000,
                "queue.buffering.max.kbytes": 16_384,
            }
        )

    def send(self, topic: str, key: bytes | None, value: bytes, done: Callable[[Failure | None], None]) -> bool:
        """Hand one record over; False if the queue is full: `poll`, then try again. *topic* is without prefix."""
        try:
            self._producer.produce(
                self._log.name(topic),
                value,
                key,
                on_delivery=lambda error, _: done(None if error is None else self._log.failure(error)),
            )
        except BufferError:
            return False
        except KafkaException as error:
            done(self._log.failure(error.args[0]))
        return True

    def poll(self, timeout_s: float) -> None:
        """Call what is `done`; wait up to *timeout_s* for the first."""
        self._producer.poll(timeout_s)

    @property
    def pending(self) -> int:
        """Records that are handed over and not `done`."""
        return len(self._producer)

    def close(self) -> None:
        """Forget what is pending; it may have arrived or not."""
        self._producer.purge()
        self._producer.flush(1)

    def _remember(self, failure: Failure) -> None:
        self.failure = failure


def topic_partition(topic: str, partition: int, offset: int | None = None) -> Any:
    """The client's name of a place in a topic."""
    return TopicPartition(topic, partition) if offset is None else TopicPartition(topic, partition, offset)


def _topic_config(topic: str) -> dict[str, str]:
    days = KEEP_DAYS.get(topic)
    keep_ms = -1 if days is None else days * _DAY_MS
    return {"cleanup.policy": "delete", "retention.ms": str(keep_ms), "message.timestamp.type": APPENDED}
