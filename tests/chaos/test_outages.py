"""Broker, registry and store go away and come back while the flow runs: it waits, says so, and nothing is missing."""

import json
import os
import random
import signal
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from kappawatt.wire.registry import Registry
from tests.chaos.cql_proxy import CqlProxy, Trouble
from tests.chaos.place import PARTITIONS, Place, plain, server_pid, servers
from tests.chaos.watching import Watcher, pause
from tests.chaos.writing import knobs, script, shifted
from tests.oracle.write_log import SCHEMAS
from tests.stack.proxy import Proxy

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

LONG_S = 75.0
"""Longer than the flow's watchdog waits for a sign of life, and than any client's own time limit."""
SOON_S = 30.0
"""Until reading goes on: no more than a try every 5 s and some epochs, and far from sleeping as long once more."""


def test_broker_is_away_for_a_minute(place: Place, rng: random.Random, facts: dict[str, Any], servers_up: None) -> None:
    messages = script(knobs(rng.randrange(1 << 30), ticks=2_000), place.ids, PARTITIONS, asleep=[5])
    with place.writer(messages, 120) as writer, place.flow(processes=2) as flow:
        writer.wait(0.25)
        servers("stop", "kafka")
        pause(60)
        flow.check()
        servers("start", "kafka")
        writer.finish()
        place.wait_until_read(flow)
        flow.drain()
    place.finish()

    facts |= {"away": "60 s", "records": place.total("sent")}
    assert place.differing() == []


def test_registry_is_away_when_a_new_schema_id_comes(place: Place, rng: random.Random, facts: dict[str, Any]) -> None:
    newer = json.loads((SCHEMAS / "sample.avsc").read_text())
    newer["fields"].append({"name": "rack", "type": "string", "default": "", "doc": "Where the host stands."})
    messages = script(knobs(rng.randrange(1 << 30), ticks=2_000), place.ids, PARTITIONS)
    url = urlsplit(place.real_registry)
    with Proxy(url.netloc) as door:
        place.registry = url._replace(netloc=door.address).geturl()
        with place.flow(processes=2) as flow:
            number = Registry(place.real_registry, topic_prefix=place.prefix).register("sample", written=newer)
            evolved = shifted(messages, number, 0.5, place.ids["sample"])
            with place.writer(_with_rack(evolved, number), 90) as writer:
                flow.wait_for(lambda: place.total("counted") > 0, "the first records")
                writer.wait(0.2)
                door.shut()
                counted = place.total("counted")
                flow.wait_for(lambda: place.total("counted") > counted, "work without a registry")
                flow.wait_for(lambda: "waiting until it answers" in flow.said(), "the new schema id")
                pause(LONG_S)
                flow.check()
                counted = place.total("counted")
                door.open()
                opened = time.monotonic()
                flow.wait_for(lambda: place.total("counted") > counted, "reading to go on", SOON_S)
                read_on_s = time.monotonic() - opened
                writer.finish()
            place.wait_until_read(flow)
            flow.drain()
        place.registry = place.real_registry
        place.finish()

    place.schemas = {**place.schemas, number: plain(newer)}
    said = flow.said().count("waiting until it answers")
    facts |= {"away": f"{LONG_S:.0f} s", "said": said, "read on after": f"{read_on_s:.1f} s"}
    assert "asking for a writer's schema: schema registry" in flow.said()
    assert "asking for a writer's schema: works again after" in flow.said()
    assert place.differing() == []


def _with_rack(messages: Any, number: int) -> Any:
    """Each sample under the new id gets the field that its schema has more."""
    from dataclasses import replace

    head = b"\0" + number.to_bytes(4, "big")
    return [replace(each, value=each.value + b"\x04r1") if each.value.startswith(head) else each for each in messages]


def test_store_stands_still_and_is_started_anew(
    place: Place, rng: random.Random, facts: dict[str, Any], servers_up: None
) -> None:
    messages = script(knobs(rng.randrange(1 << 30), ticks=2_000), place.ids, PARTITIONS)
    with (
        Watcher(place.store) as watcher,
        place.writer(messages, 150) as writer,
        place.flow(processes=2) as flow,
    ):
        writer.wait(0.2)
        os.kill(server_pid("cassandra"), signal.SIGSTOP)
        pause(LONG_S)
        flow.check()
        os.kill(server_pid("cassandra"), signal.SIGCONT)
        writer.wait(0.7)
        servers("restart", "cassandra")
        writer.finish()
        place.wait_until_read(flow)
        flow.drain()
        place.finish()

    facts |= {"still for": f"{LONG_S:.0f} s", "row changes watched": watcher.steps, "wrong": len(watcher.wrong)}
    assert place.differing() == []
    assert watcher.wrong == []


def test_three_of_ten_writes_fail(place: Place, rng: random.Random, seed: str, facts: dict[str, Any]) -> None:
    trouble = Trouble(hold_s=(0.0, 0.05), refused=0.15, denied=0.145, cut=0.005)
    messages = script(knobs(rng.randrange(1 << 30), ticks=1_500), place.ids, PARTITIONS)
    with CqlProxy(place.cassandra, seed=seed, trouble=trouble) as door:
        place.store_at = door.address
        with place.writer(messages, 45) as writer, place.flow(processes=2) as flow:
            writer.wait(0.9)
            writer.finish()
            place.wait_until_read(flow)
            flow.drain()
        place.finish(processes=2)

    seen = door.seen
    failed = seen.refused + seen.denied + seen.cuts
    facts |= {"writes": seen.writes, "refused": seen.refused, "applied but denied": seen.denied, "cuts": seen.cuts}
    assert place.differing() == []
    assert 0.25 < failed / seen.writes < 0.35


def test_topic_with_writers_clocks_is_refused_with_the_remedy(place: Place) -> None:
    topic = f"{place.prefix}sample"
    clock = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[clock])
    admin = AdminClient({"bootstrap.servers": place.kafka})
    admin.incremental_alter_configs([resource])[resource].result(timeout=30)

    with place.flow() as flow:
        assert flow.process.wait(60) == 1

    assert f"topic {topic} has message.timestamp.type=CreateTime, the flow needs LogAppendTime" in flow.said()
    assert f"`kafka-configs --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime`" in flow.said()
