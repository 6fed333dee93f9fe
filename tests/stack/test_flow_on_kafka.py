"""What only a flow on real Kafka can show: every kind of dead letter, topics that grow, schemas that evolve."""

import copy
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka
import fastavro
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from kappawatt.log.kafka import KafkaLog
from kappawatt.stores import open_store
from kappawatt.wire import codec
from kappawatt.wire.registry import Registry
from tests.flows.flows import Flow, wait_for
from tests.flows.ledger_compare import differences
from tests.oracle.generate import small
from tests.oracle.model import Dead
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import encode, frame, kafka_partition, publish

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TOPICS = ("sample", "intensity", "run_event", "dead_letter", "alert")
PARTITIONS = 16


@dataclass(frozen=True)
class Cluster:
    """One test's topics and subjects on the real servers."""

    address: str
    registry_url: str
    prefix: str
    ids: dict[str, int]

    def flow(self, folder: Path) -> Flow:
        flags = ("--registry", self.registry_url, "--topic-prefix", self.prefix)
        log, store = f"kafka://{self.address}", f"sqlite:{folder / 'ledger.sqlite'}"
        return Flow(log=log, store=store, state=folder / "state", flags=flags)

    def send(self, messages: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Append (partition, key, value) to topic sample."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.address, "linger.ms": 20})
        for partition, key, value in messages:
            producer.produce(f"{self.prefix}sample", value=value, key=key, partition=partition)
        assert producer.flush(60) == 0

    def letters(self) -> list[dict[str, Any]]:
        """All that is on topic dead_letter."""
        topic = f"{self.prefix}dead_letter"
        settings = {"bootstrap.servers": self.address, "group.id": topic, "auto.offset.reset": "earliest"}
        consumer = confluent_kafka.Consumer({**settings, "enable.partition.eof": True})
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        found, ended = [], 0
        while ended < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None
            if message.error():
                ended += 1
                continue
            _, datum = codec.unframe(message.value())
            found.append(codec.decode_one(codec.schema("dead_letter"), datum))
        consumer.close()
        return found


@pytest.fixture
def cluster(kafka_address: str, registry_url: str, topic_prefix: str) -> Cluster:
    KafkaLog(kafka_address, registry_url, topic_prefix).ensure_topics(PARTITIONS)
    registry = Registry(registry_url, topic_prefix=topic_prefix)
    return Cluster(kafka_address, registry_url, topic_prefix, {topic: registry.register(topic) for topic in TOPICS})


def rows(flow: Flow, table: str) -> list[dict[str, Any]]:
    store = open_store(flow.store, read_only=True)
    try:
        return sorted(store.scan(table), key=repr)
    finally:
        store.close()


def total(flow: Flow, column: str) -> int:
    return sum(row[column] for row in rows(flow, "accounting"))


def test_dead_and_rejected_records_are_listed_and_the_rest_is_counted(cluster: Cluster, tmp_path: Path) -> None:
    log = publish(small(21, kafka_dead=True), cluster.address, cluster.prefix, cluster.ids, PARTITIONS)
    expected = expected_tables(log)
    flow = cluster.flow(tmp_path)

    flow.run(processes=2)

    store = open_store(flow.store, read_only=True)
    assert differences(store, expected) == []
    letters = Counter(letter["verdict"] for letter in cluster.letters() if letter["source"].startswith("sample/"))
    assert letters == {verdict: total(flow, verdict) for verdict in ("dead", "rejected")}
    reasons = {record.reason for records in log.samples.values() for record in records if isinstance(record, Dead)}
    assert reasons <= {letter["reason"] for letter in cluster.letters()}
    store.close()


def test_topic_grown_between_two_resent_tails_counts_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    log = publish(small(22), cluster.address, cluster.prefix, cluster.ids, PARTITIONS)
    flow = cluster.flow(tmp_path)
    flow.run()
    before = rows(flow, "run_total"), rows(flow, "run_window_5s"), total(flow, "duplicate"), total(flow, "counted")
    schema = codec.schema("sample")
    tails = [
        (record["host"].encode(), frame(cluster.ids["sample"], encode(schema, record)))
        for records in log.samples.values()
        for record in [each for each in records if not isinstance(each, Dead)][-5:]
    ]

    cluster.send([(kafka_partition(key, PARTITIONS), key, value) for key, value in tails])
    admin = AdminClient({"bootstrap.servers": cluster.address})
    topic = f"{cluster.prefix}sample"
    admin.create_partitions([NewPartitions(topic, 2 * PARTITIONS)])[topic].result(timeout=30)
    wait_for(
        lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 2 * PARTITIONS, what="partitions"
    )
    cluster.send([(kafka_partition(key, 2 * PARTITIONS), key, value) for key, value in tails])
    flow.run(processes=2)

    after = rows(flow, "run_total"), rows(flow, "run_window_5s"), total(flow, "duplicate"), total(flow, "counted")
    assert _content(after[0]) == _content(before[0])
    assert _content(after[1]) == _content(before[1])
    assert after[2:] == (before[2] + 2 * len(tails), before[3])


def _content(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "version"} for row in found]


def test_writers_of_two_schema_versions_are_read_in_one_log(cluster: Cluster, tmp_path: Path) -> None:
    log = small(23)
    expected = expected_tables(publish(log, cluster.address, cluster.prefix, cluster.ids, PARTITIONS))
    path = Path(__file__).resolve().parents[2] / "avro/sample.avsc"
    second = json.loads(path.read_text())
    second["fields"].append({"name": "rack", "type": "string", "default": "", "doc": "Where the host stands."})
    newer = Registry(cluster.registry_url, topic_prefix=cluster.prefix).register("sample", written=second)
    flow = cluster.flow(tmp_path)
    flow.run()
    before = total(flow, "counted")
    parsed = fastavro.parse_schema(copy.deepcopy(second))
    older = codec.schema("sample")
    mixed = []
    for record in (each for records in log.samples.values() for each in records if not isinstance(each, Dead)):
        key = record["host"].encode()
        fresh = {**record, "collector_id": f"{record['collector_id']}-again"}
        newer_one = frame(newer, encode(parsed, {**fresh, "rack": "r1"}))
        older_one = frame(cluster.ids["sample"], encode(older, record))
        place = kafka_partition(key, PARTITIONS)
        mixed += [(place, key, newer_one), (place, key, older_one)]

    cluster.send(mixed)
    flow.run()

    assert newer != cluster.ids["sample"]
    assert total(flow, "counted") > before
    assert total(flow, "dead") == sum(row["dead"] for row in expected["accounting"].values())


def test_incompatible_schema_is_refused_with_the_reason(cluster: Cluster) -> None:
    path = Path(__file__).resolve().parents[2] / "avro/sample.avsc"
    broken = json.loads(path.read_text())
    broken["fields"].append({"name": "rack", "type": "string", "doc": "Without a default."})

    why = Registry(cluster.registry_url, topic_prefix=cluster.prefix).check("sample", written=broken)

    assert why is not None
    assert "rack" in why
