"""Every collector reaches a real Kafka, as a user starts it, and says so when it does not."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappawatt.log.kafka import KafkaLog
from kappawatt.log_records import records
from kappawatt.wire import codec

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
Collect = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def log(kafka_address: str, registry_url: str, topic_prefix: str) -> KafkaLog:
    return KafkaLog(kafka_address, registry_url, topic_prefix, environ={})


@pytest.fixture
def environ(log: KafkaLog) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}
    ours = {"LOG": f"kafka://{log.bootstrap}", "REGISTRY": str(log.registry), "TOPIC_PREFIX": log.topic_prefix}
    return {**kept, "PYTHONPATH": str(ROOT), **{f"KAPPAWATT_{name}": value for name, value in ours.items()}}


@pytest.fixture
def collect(tmp_path: Path, environ: dict[str, str]) -> Collect:
    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kappawatt", "collect", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)

    return call


def arrived(log: KafkaLog, topic: str) -> list[dict[str, Any]]:
    """All records that are now in *topic*."""
    consumer = log.consumer(topic, range(log.partition_count(topic)), {})
    ends, found = consumer.end_offsets(), []
    until = time.monotonic() + 60
    while consumer.positions() != ends:
        assert time.monotonic() < until, f"{consumer} did not reach {ends}"
        batch = consumer.poll(1000)
        if batch is None:
            continue
        for start, end in zip(batch.start, batch.end, strict=True):
            found.append(codec.decode_one(codec.schema(topic), batch.buffer[start:end]))
    consumer.close()
    return found


def identities(samples: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return sorted((sample["collector_id"], sample["seq"]) for sample in samples)


def test_intensity_of_all_zones_arrives(collect: Collect, log: KafkaLog) -> None:
    done = collect("intensity")

    assert (done.returncode, done.stdout) == (0, "")
    zones = [price["zone"] for price in arrived(log, "intensity")]
    assert f"{len(zones)} intensity records written to kafka://" in done.stderr
    assert len(set(zones)) == len(zones) > 200


def test_simulated_fleet_arrives_whole(collect: Collect, log: KafkaLog, tmp_path: Path) -> None:
    done = collect("simulate", "--duration", "4m", "--hosts", "3", "--start", "2026-01-31T12:00:00Z")

    assert done.returncode == 0
    kept = list(records(tmp_path / ".kappawatt" / "spool", "sample"))
    samples = arrived(log, "sample")
    written = re.search(r"(\d+) simulated records written", done.stderr)
    assert written is not None
    assert int(written[1]) == len(samples) + len(arrived(log, "run_event"))
    assert identities(samples) == identities(kept)


def test_agent_ships_everything_up_to_sigterm(environ: dict[str, str], log: KafkaLog, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kappawatt", "collect", "host", "--zone", "DEU", "--period-s", "0.2"]
    agent = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    assert agent.stderr is not None
    began = next(line for line in agent.stderr if " measuring " in line)
    spool = tmp_path / ".kappawatt" / "spool"
    until = time.monotonic() + 60
    while len(list(records(spool, "sample"))) < 10:
        assert time.monotonic() < until, f"the agent measures nothing: {began}"

    agent.send_signal(signal.SIGTERM)
    said = agent.communicate(timeout=60)[1]

    samples = arrived(log, "sample")
    assert agent.returncode == 0
    assert f"{len(samples)} samples in" in said
    assert identities(samples) == identities(list(records(spool, "sample")))
    assert sorted(sample["seq"] for sample in samples) == list(range(len(samples)))


def test_what_a_dead_broker_did_not_take_is_said_and_shipped_by_the_next(
    collect: Collect, environ: dict[str, str], log: KafkaLog
) -> None:
    broker = environ["KAPPAWATT_LOG"]
    environ["KAPPAWATT_LOG"] = "kafka://127.0.0.1:1"
    refused = collect("intensity", "--zone", "DEU")
    environ["KAPPAWATT_LOG"] = broker

    done = collect("intensity", "--zone", "FRA")

    assert (refused.returncode, done.returncode) == (1, 0)
    assert "the rest waits in .kappawatt/spool; the next collector or run with this spool ships them" in refused.stderr
    assert "written" not in refused.stderr
    assert sorted(price["zone"] for price in arrived(log, "intensity")) == ["DEU", "FRA", "WORLD", "WORLD"]
