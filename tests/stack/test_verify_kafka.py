"""`verify` counts a log in Kafka again, bounded by what the store has read."""

import json
import sqlite3
from pathlib import Path

import pytest

from kappawatt import cli
from kappawatt.log.kafka import KafkaLog
from kappawatt.wire.registry import Registry
from tests.flows.flows import Flow
from tests.oracle.generate import small
from tests.oracle.write_log import publish

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PARTITIONS = 16


def test_verify_holds_a_store_to_its_log_in_kafka(
    kafka_address: str, registry_url: str, topic_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    KafkaLog(kafka_address, registry_url, topic_prefix).ensure_topics(PARTITIONS)
    registry = Registry(registry_url, topic_prefix=topic_prefix)
    ids = {topic: registry.register(topic) for topic in ("sample", "intensity", "run_event", "dead_letter", "alert")}
    publish(small(42, kafka_dead=True), kafka_address, topic_prefix, ids, PARTITIONS)
    where = ("--registry", registry_url, "--topic-prefix", topic_prefix)
    log, store = f"kafka://{kafka_address}", tmp_path / "ledger.sqlite"
    Flow(log=log, store=f"sqlite:{store}", state=tmp_path / "state", flags=where).run()
    publish(small(43), kafka_address, topic_prefix, ids, PARTITIONS)  # behind the store's positions
    verify = ["verify", "--json", "--log", log, "--store", f"sqlite:{store}", *where]

    assert cli.main(verify) == 0
    held = json.loads(capsys.readouterr().out)
    with sqlite3.connect(store) as changed:
        changed.execute("UPDATE run_total SET gpu_uj = gpu_uj + 7, energy_uj = energy_uj + 7 WHERE run_id = 'wide'")
    changed.close()
    assert cli.main(verify) == 1
    broken = json.loads(capsys.readouterr().out)["broken"]

    assert (held["broken"], held["note"]) == ([], "")
    assert held["equations"] > 100
    assert "Σ log = run_total.gpu_uj" in [each["law"] for each in broken]
