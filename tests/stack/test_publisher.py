"""A spool reaches a real Kafka completely and in order, through outages, restarts and kill -9."""

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kappawatt.errors import LogError, SettingsError
from kappawatt.log.kafka import KafkaLog
from kappawatt.log.publisher import Publisher
from kappawatt.log.slots import slots
from kappawatt.log.spool import Spool
from kappawatt.settings import Settings
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter, Intensity, RunEvent
from kappawatt.wire.registry import Registry

pytestmark = pytest.mark.stack

_spec = importlib.util.spec_from_file_location("stack_proxy", Path(__file__).with_name("proxy.py"))
assert _spec is not None
assert _spec.loader is not None
_proxy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_proxy)
Proxy: Any = _proxy.Proxy
dead_port: Callable[[], int] = _proxy.dead_port


@pytest.fixture
def log(kafka_address: str, registry_url: str, topic_prefix: str) -> KafkaLog:
    made = KafkaLog(kafka_address, registry_url, topic_prefix, environ={})
    made.ensure_topics(4)
    return made


def event(number: int, run: str = "run-1", note: str = "") -> RunEvent:
    return RunEvent(event_id=f"e{number}", run_id=run, type="heartbeat", at=number, labels={"note": note})


def numbered(first: int, last: int) -> list[RunEvent]:
    return [event(number) for number in range(first, last)]


def arrived(log: KafkaLog, topic: str = "run_event") -> list[tuple[int, dict[str, Any]]]:
    """Schema id and record of each message now in *topic*, partition by partition."""
    count = log.partition_count(topic)
    consumer = log.consumer(topic, range(count), {})
    ends, found = consumer.end_offsets(), []
    until = time.monotonic() + 30
    while consumer.positions() != ends:
        assert time.monotonic() < until, f"{consumer} did not reach {ends}"
        batch = consumer.poll(1000)
        if batch is None:
            continue
        for start, end, schema_id in zip(batch.start, batch.end, batch.schema_id, strict=True):
            record = codec.decode_one(codec.schema(topic), batch.buffer[start:end])
            found.append((int(schema_id), record))
    consumer.close()
    return found


def ids(log: KafkaLog) -> list[str]:
    return [record["event_id"] for _, record in arrived(log)]


def wait_for(condition: Callable[[], bool], limit_s: float = 30) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.02)


def test_records_arrive_once_and_in_order_under_the_registrys_id(log: KafkaLog, tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7", max_bytes=500_000) as spool, Publisher(tmp_path, log) as publisher:
        for first in range(0, 2000, 100):
            spool.append(*numbered(first, first + 100))
        assert publisher.drain(30)
        assert publisher.shipped == 2000

    found = arrived(log)
    schema_id = Registry(log.registry, topic_prefix=log.topic_prefix).register("run_event")
    assert [record["event_id"] for _, record in found] == [f"e{number}" for number in range(2000)]
    assert {each for each, _ in found} == {schema_id}


def test_each_topic_has_its_key(log: KafkaLog, tmp_path: Path) -> None:
    price = {"valid_from": 0, "valid_to": 1, "intensity_g_per_kwh": 1.0, "kind": "actual", "signal": "average"}
    rest = {"provider": "p", "dataset": "d", "revision": 0, "published_at": 0}
    with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, log) as publisher:
        spool.append(*[Intensity(zone=f"Z{i % 5}", **price, **rest) for i in range(50)])
        assert publisher.drain(30)

    consumer = log.consumer("intensity", range(4), {})
    places: dict[str, set[int]] = {}
    wait_for(lambda: _collect(consumer, places) == 50)
    consumer.close()
    assert {zone: len(partitions) for zone, partitions in places.items()} == dict.fromkeys(places, 1)
    assert len(places) == 5


def _collect(consumer: Any, places: dict[str, set[int]]) -> int:
    batch = consumer.poll(100)
    for i in range(0 if batch is None else len(batch)):
        datum = batch.buffer[batch.start[i] : batch.end[i]]
        zone = codec.decode_one(codec.schema("intensity"), datum)["zone"]
        places.setdefault(zone, set()).add(int(batch.partition[i]))
    return sum(consumer.positions().values())


def test_a_restart_after_a_clean_end_repeats_nothing(log: KafkaLog, tmp_path: Path) -> None:
    for first in (0, 10, 20):
        with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, log) as publisher:
            spool.append(*numbered(first, first + 10))
            assert publisher.drain(30)

    assert ids(log) == [f"e{number}" for number in range(30)]


SHIP = """
import sys
from kappawatt.log.kafka import KafkaLog
from kappawatt.log.publisher import Publisher
publisher = Publisher(sys.argv[1], KafkaLog(sys.argv[2], sys.argv[3], sys.argv[4], environ={})).start()
print("started", flush=True)
publisher.drain(60)
"""


def test_a_killed_publisher_loses_nothing_and_its_successor_goes_on(log: KafkaLog, tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7") as spool:
        for first in range(0, 30_000, 1000):
            spool.append(*numbered(first, first + 1000))
    slot = slots(tmp_path)[0]
    command = [sys.executable, "-c", SHIP, str(tmp_path), log.bootstrap, str(log.registry), log.topic_prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=os.getcwd()) as process:
        wait_for(lambda: bool(slot.shipped()))
        process.send_signal(signal.SIGKILL)
    shipped_by_then = slot.shipped()["run_event"]

    with Publisher(tmp_path, log) as publisher:
        assert publisher.drain(60)
        by_the_second = publisher.shipped

    found = ids(log)
    assert list(dict.fromkeys(found)) == [f"e{number}" for number in range(30_000)]
    assert slot.shipped()["run_event"] > shipped_by_then
    assert by_the_second < 30_000
    assert len(found) < 30_000 + by_the_second


def test_a_dead_broker_is_said_once_and_shipping_starts_when_it_is_there(
    log: KafkaLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy(log.bootstrap)
    away = KafkaLog(proxy.address, log.registry, log.topic_prefix, environ={})
    with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, away) as publisher:
        spool.append(*numbered(0, 5))
        wait_for(lambda: proxy.address in caplog.text)
        assert not publisher.drain(2.0)
        warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        spool.append(*numbered(5, 10))
        with proxy:
            assert publisher.drain(60)

    assert len(warned) == 1
    assert "stay in the spool" in warned[0]
    assert "KAPPAWATT_LOG" in warned[0]
    assert ids(log) == [f"e{number}" for number in range(10)]


def test_without_the_registry_nothing_is_written_and_shipping_waits(
    log: KafkaLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = urlsplit(log.registry)
    proxy = Proxy(url.netloc)
    away = KafkaLog(log.bootstrap, url._replace(netloc=proxy.address).geturl(), log.topic_prefix, environ={})
    with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, away) as publisher:
        spool.append(*numbered(0, 5))
        wait_for(lambda: proxy.address in caplog.text)
        before = ids(log)
        spool.append(*numbered(5, 10))
        with proxy:
            assert publisher.drain(60)

    assert before == []
    assert ids(log) == [f"e{number}" for number in range(10)]


def test_one_publisher_ships_a_slot_and_the_next_takes_over(log: KafkaLog, tmp_path: Path) -> None:
    spool = Spool(tmp_path, host="h7")
    spool.append(*numbered(0, 10))
    first, second = Publisher(tmp_path, log).start(), Publisher(tmp_path, log)
    assert first.drain(30)
    second.start()
    spool.append(*numbered(10, 20))
    assert second.drain(30)
    shipped_by_second = second.shipped
    first.close()
    spool.append(*numbered(20, 30))
    assert second.drain(30)
    second.close()
    spool.close()

    assert shipped_by_second == 0
    assert ids(log) == [f"e{number}" for number in range(30)]


def test_what_a_dead_writer_left_in_another_slot_is_shipped_too(log: KafkaLog, tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7") as one, Spool(tmp_path, host="h7") as two:
        one.append(*numbered(0, 5))
        two.append(event(5, run="run-2"))

    with Publisher(tmp_path, log) as publisher:
        assert publisher.drain(30)

    assert sorted(ids(log)) == [f"e{number}" for number in range(6)]


def test_a_record_above_kafkas_limit_becomes_a_dead_letter(log: KafkaLog, tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, log) as publisher:
        spool.append(event(0), event(1, note="x" * 2_000_000), event(2))
        assert publisher.drain(30)

    ((_, letter),) = arrived(log, "dead_letter")
    assert ids(log) == ["e0", "e2"]
    assert (DeadLetter.from_avro(letter).reason, len(letter["payload"])) == ("too_large", 512 * 1024)


def test_missing_topics_are_made(kafka_address: str, registry_url: str, topic_prefix: str, tmp_path: Path) -> None:
    log = KafkaLog(kafka_address, registry_url, topic_prefix, environ={})
    with Spool(tmp_path, host="h7") as spool, Publisher(tmp_path, log) as publisher:
        spool.append(event(0))
        assert publisher.drain(30)

    assert log.partition_count("run_event") == 16


def test_a_broker_that_does_not_answer_is_one_clear_error() -> None:
    port = dead_port()
    began = time.monotonic()

    with pytest.raises(LogError, match=rf"Kafka at 127.0.0.1:{port}.*KAPPAWATT_LOG"):
        KafkaLog(f"127.0.0.1:{port}", environ={}).check()

    assert time.monotonic() - began < 8


def test_a_wrong_client_setting_does_not_show_its_value(kafka_address: str) -> None:
    environ = {"KAPPAWATT_KAFKA_SSL_KEY_PASSWORD": "hunter2", "KAPPAWATT_KAFKA_SECURITY_PROTOCOL": "nonsense"}

    with pytest.raises(LogError) as caught:
        KafkaLog(kafka_address, environ=environ).check()

    assert "hunter2" not in str(caught.value)
    assert "security.protocol" in str(caught.value)


def test_a_file_log_has_nothing_to_ship_to() -> None:
    with pytest.raises(SettingsError, match="kafka://"):
        Publisher.from_settings(Settings(log="file:x"))
    with pytest.raises(SettingsError, match="KAPPAWATT_REGISTRY"):
        Publisher.from_settings(Settings(log="kafka://k:1"))
