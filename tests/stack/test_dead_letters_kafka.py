"""`dead ls` and `dead show` on real Kafka: bounded, each letter once, and nobody's place moves."""

import json
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from kappawatt import cli
from kappawatt.log.kafka import KafkaLog
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.registry import Registry
from tests.oracle.records import sample
from tests.oracle.write_log import frame

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PARTITIONS = 16


@pytest.fixture
def flags(kafka_address: str, registry_url: str, topic_prefix: str, tmp_path: Path, monkeypatch) -> list[str]:
    """Flags that name the log of one test; on it are two letters, one of them twice, and something that is none."""
    monkeypatch.chdir(tmp_path)
    KafkaLog(kafka_address, registry_url, topic_prefix).ensure_topics(PARTITIONS)
    registry = Registry(registry_url, topic_prefix=topic_prefix)
    ids = {topic: registry.register(topic) for topic in ("dead_letter", "sample")}
    letters = [
        DeadLetter(source="sample/3", position="7", verdict="dead", reason="magic", schema_id=None, payload=b"\1x"),
        DeadLetter(
            source="sample/3",
            position="8",
            verdict="rejected",
            reason="reserved_run_id",
            schema_id=ids["sample"],
            payload=codec.encode("sample", sample(run_id="~x")),
        ),
    ]
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka_address})
    for each in [*letters, letters[0]]:
        value = frame(ids["dead_letter"], codec.encode("dead_letter", each.to_avro()))
        producer.produce(f"{topic_prefix}dead_letter", value, key=f"{each.source}@{each.position}".encode())
    producer.produce(f"{topic_prefix}dead_letter", b"not framed", key=b"sample/3@7")
    assert producer.flush(60) == 0
    return ["--log", f"kafka://{kafka_address}", "--registry", registry_url, "--topic-prefix", topic_prefix]


def test_letters_are_listed_once(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "ls", "--json", *flags]) == 0

    found = json.loads(capsys.readouterr().out)
    assert sorted(each["position"] for each in found["letters"]) == ["7", "8"]
    assert found["by_reason"] == {"magic": 1, "reserved_run_id": 1}
    assert (found["repeats"], found["unreadable"]) == (1, 1)


def test_letter_shows_its_record_by_the_registrys_schema(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "show", "sample/3", "8", "--json", *flags]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["reason"], found["record"]["run_id"]) == ("reserved_run_id", "~x")


def test_reading_commits_nothing(flags: list[str], kafka_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address})

    assert cli.main(["dead", "ls", *flags]) == 0

    topic = flags[-1] + "dead_letter"
    asked = confluent_kafka.ConsumerGroupTopicPartitions("kappawatt")
    (answer,) = admin.list_consumer_group_offsets([asked]).values()
    assert [each for each in answer.result(timeout=30).topic_partitions if each.topic == topic] == []


def test_topic_that_is_missing_is_named(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "ls", *flags[:-1], "another-"]) == 1

    assert (
        "has no topic another-dead_letter that this user may see; `kappawatt schema register`"
        in capsys.readouterr().err
    )


def test_empty_topic_has_no_letters(
    kafka_address: str, registry_url: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    KafkaLog(kafka_address, registry_url, topic_prefix).ensure_topics(PARTITIONS)
    where = ["--log", f"kafka://{kafka_address}", "--registry", registry_url, "--topic-prefix", topic_prefix]

    assert cli.main(["dead", "ls", *where]) == 0

    assert "no dead letter in kafka://" in capsys.readouterr().err
